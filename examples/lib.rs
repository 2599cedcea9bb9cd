//! dockit examples live in `examples/`.
