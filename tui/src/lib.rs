//! opentop: every file that every process opens, live.
//!
//! The binary is a thin `main` over this library. One story runs through it: the [`probe`] sees an open,
//! a [`source`] hands it over in batches (the kernel, or a recording), one [`model`] is updated, and a view
//! draws it or a [`headless`] writer prints it. ARCHITECTURE.md is the map.

pub mod app;
pub mod cli;
pub mod config;
pub mod doctor;
pub mod errno;
pub mod error;
pub mod escape;
pub mod event;
pub mod filter;
pub mod flags;
pub mod headless;
pub mod look;
pub mod model;
mod numbers;
pub mod privilege;
pub mod probe;
pub mod recording;
pub mod run;
pub mod session;
pub mod source;
pub mod symbols;
pub mod view;
