//! Services: who serves what, and how a call finds its way there.
//!
//! | module | decides |
//! |---|---|
//! | [`directory`] | which instances of which services are there |

pub mod directory;
