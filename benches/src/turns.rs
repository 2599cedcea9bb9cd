//! Programs that take turns, so that other work on the machine slows all of them down.

use std::error::Error;
use std::time::Instant;

/// What a program that is measured comes to.
pub type Done = Result<(), Box<dyn Error>>;

/// A program or a way, and how long it took each time.
pub struct Tool<'a> {
    /// What it is called in reports.
    pub name: String,
    run: Box<dyn Fn() -> Done + 'a>,
    /// Seconds of each turn.
    pub times: Vec<f64>,
}

/// What is compared, in the order of a report.
#[derive(Default)]
pub struct Tools<'a>(pub Vec<Tool<'a>>);

impl<'a> Tools<'a> {
    /// Adds one.
    pub fn add(&mut self, name: &str, run: impl Fn() -> Done + 'a) {
        self.0.push(Tool { name: name.to_owned(), run: Box::new(run), times: Vec::new() });
    }

    /// Runs each once.
    ///
    /// # Errors
    ///
    /// One of them fails.
    pub fn take_turn(&mut self) -> Done {
        for tool in &mut self.0 {
            let start = Instant::now();
            (tool.run)()?;
            tool.times.push(start.elapsed().as_secs_f64());
        }
        Ok(())
    }

    /// Forgets the turns so far.
    pub fn forget_turns(&mut self) {
        self.0.iter_mut().for_each(|tool| tool.times.clear());
    }

    /// Seconds of each turn.
    pub fn times(&self, name: &str) -> &[f64] {
        self.0.iter().find(|tool| tool.name == name).map_or(&[], |tool| &tool.times)
    }
}
