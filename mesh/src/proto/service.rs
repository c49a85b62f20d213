//! Services: a node asks, another answers.
//!
//! | module | decides |
//! |---|---|
//! | [`frame`] | what two ends of a session say to each other, byte by byte |
//! | [`session`] | how many calls share one stream, when each ends, and who may send how much |

pub mod frame;
pub mod session;
