//! The bottom floor of Aether: what every layer names, signs, encodes and proves in the same way.
//!
//! The crate does no I/O, starts no task and reads no clock. It promises that the same bytes mean
//! the same thing everywhere: one hash (BLAKE3), one signature rule (Ed25519, strict), one Merkle
//! tree (RFC 9162), one shape of pure protocol.
//!
//! In reading order:
//!
//! - [`Protocol`] and [`Time`]: how a protocol decides without acting, so that the driver, the
//!   simulator and the fuzzer run the very same code.
//! - [`struct@Hash`] and [`Hasher`]: 32 bytes of BLAKE3, always under a [`Domain`].
//! - [`BlobId`]: the plain BLAKE3 hash that names content.
//! - [`SecretKey`], [`PublicKey`], [`Signature`]: identity and strict verification.
//! - [`Genesis`] and [`MeshId`]: what makes two meshes different.
//! - [`wire`]: bounded reading and writing of fixed layouts and CBOR.
//! - [`merkle`]: roots and inclusion proofs.
//!
//! ```
//! use aether_core::{Domain, SecretKey};
//!
//! const GREETING: Domain = Domain::new("example.org 2026 greeting v1");
//!
//! let alice = SecretKey::from_bytes([7; 32]);
//! let digest = GREETING.hash(b"hello");
//! let signature = alice.sign(&digest);
//! assert!(alice.public().verify(&digest, &signature).is_ok());
//! assert!(alice.public().verify(&GREETING.hash(b"hullo"), &signature).is_err());
//! ```

mod blob_id;
mod hash;
mod key;
pub mod merkle;
mod mesh_id;
mod protocol;
pub mod wire;

pub use blob_id::BlobId;
pub use hash::{Domain, Hash, Hasher, ParseHashError};
pub use key::{InvalidPublicKey, InvalidSignature, PublicKey, SecretKey, Signature};
pub use mesh_id::{Genesis, GenesisError, MeshId, Mode};
pub use protocol::{Protocol, Time};
