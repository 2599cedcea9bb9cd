//! The programs in `examples/` embed dockit's crates; `projects/` holds sample projects.
