//! Copies of images between places.

mod place;

pub use place::ImagePlace;
