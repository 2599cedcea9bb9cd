//! OCI image layouts: directories that hold images as a registry does (image spec, *Image Layout*).

mod reference;

pub use reference::{LayoutName, LayoutReference, LayoutReferenceError};
