//! Services: request and reply between nodes, with nobody in the middle.
//!
//! | module | decides |
//! |---|---|
//! | [`balancer`] | which instance gets a call, and when it is retried, hedged or given up |

pub mod balancer;
