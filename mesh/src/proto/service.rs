//! Services: who serves what, how a call finds its way there, and how it is answered.
//!
//! | module | decides |
//! |---|---|
//! | [`balancer`] | which instance gets a call, and when it is retried, hedged or given up |
//! | [`directory`] | which instances of which services are there |
//! | [`frame`] | what two ends of a session say to each other, byte by byte |
//! | [`session`] | how many calls share one stream, when each ends, and who may send how much |

pub mod balancer;
pub mod directory;
pub mod frame;
pub mod session;
