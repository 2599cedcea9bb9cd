//! The configuration of an image: the base's, and what instructions set in it.
