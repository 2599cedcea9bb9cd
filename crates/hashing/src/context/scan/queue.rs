//! Tasks that make further tasks, shared by threads.

use std::sync::{Condvar, Mutex, MutexGuard};

/// Hands out the task that came last, so that a tree is gone through in depth first and few tasks
/// wait.
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    waiting: Vec<T>,
    /// Tasks handed out and not finished. Each may still add some.
    running: usize,
}

impl<T> Queue<T> {
    pub(super) fn new(first: Option<T>) -> Self {
        let state = State { waiting: first.into_iter().collect(), running: 0 };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Adds tasks, of which the last one is handed out first.
    pub(super) fn add(&self, tasks: impl IntoIterator<Item = T>) {
        let mut state = self.state();
        let before = state.waiting.len();
        state.waiting.extend(tasks);
        match state.waiting.len() - before {
            0 => {}
            1 => self.changed.notify_one(),
            _ => self.changed.notify_all(),
        }
    }

    /// Works on tasks until there are none and no thread can add any.
    pub(super) fn work(&self, mut on: impl FnMut(T)) {
        while let Some(task) = self.next() {
            let _running = Running(self);
            on(task);
        }
    }

    fn next(&self) -> Option<T> {
        let mut state = self.state();
        loop {
            if let Some(task) = state.waiting.pop() {
                state.running += 1;
                return Some(task);
            }
            if state.running == 0 {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// A task that is worked on; over also when the thread panics, or others would wait for it forever.
struct Running<'a, T>(&'a Queue<T>);

impl<T> Drop for Running<'_, T> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.running -= 1;
        if state.running == 0 && state.waiting.is_empty() {
            self.0.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;

    #[test]
    fn tasks_that_tasks_add_are_all_worked_on() {
        let queue = Queue::new(Some(12));
        let done = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    queue.work(|depth: u32| {
                        done.fetch_add(1, Ordering::Relaxed);
                        queue.add((0..2).filter(|_| depth > 0).map(|_| depth - 1));
                    });
                });
            }
        });
        assert_eq!(done.into_inner(), (1 << 13) - 1);
    }

    #[test]
    fn a_thread_that_panics_keeps_no_other_waiting() {
        let queue = Queue::new(Some(3));
        let panics = thread::scope(|scope| {
            let work = || {
                queue.work(|task: u32| {
                    queue.add(task.checked_sub(1));
                    assert_ne!(task, 3, "on purpose");
                });
            };
            let threads = [scope.spawn(work), scope.spawn(work)];
            threads.map(|thread| thread.join().is_err())
        });
        assert_eq!(panics.iter().filter(|panic| **panic).count(), 1);
    }
}
