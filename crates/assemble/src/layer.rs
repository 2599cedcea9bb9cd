//! Layers: packing changes, and reading those of base images.
