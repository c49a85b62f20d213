//! Integration tests of the lab, and the tests of the house: rules that hold for the whole
//! workspace.

mod house;
mod mutants;
mod source;
mod tour;
