//! `peer-tcp --bytes N`: a file of random bytes over plain TCP on loopback, neither encrypted nor
//! verified, from one thread per provider to the getter's. Providers send by `sendfile(2)`; nothing
//! is synced to disk.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    ops::Range,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    thread,
};

use anyhow::Context as _;
use clap::Parser as _;
use peer_sample::{
    BLOCK, Transfer, cpu_time, is_same, now, peak_memory_of, random_file, shares, warm,
};

/// Copies a file over plain TCP, and prints how that went.
#[derive(Debug, clap::Parser)]
struct Options {
    /// Bytes of the file
    #[arg(long)]
    bytes: u64,
    /// How many provide a share of the file each
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=64))]
    providers: u64,
    /// What the file is drawn from
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where the files are made for a while, in a folder of their own
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    folder: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let folder = tempfile::tempdir_in(&options.folder)?;
    let (source, copy) = (folder.path().join("source"), folder.path().join("copy"));
    random_file(&source, options.bytes, options.seed)?;
    File::create_new(&copy)?.set_len(options.bytes)?;
    let mut shares: Vec<(Range<u64>, TcpListener)> = Vec::new();
    for share in shares_of(&options) {
        shares.push((share, TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?));
    }

    warm(folder.path(), options.bytes)?;
    let (begin, cpu) = (now(), cpu_time());
    let received = thread::scope(|scope| {
        let mut getters = Vec::new();
        for (share, listener) in &shares {
            let address = listener.local_addr()?;
            let (source, copy) = (&source, &copy);
            scope.spawn(move || provide(source, share, listener));
            getters.push(scope.spawn(move || get(copy, share, address)));
        }
        getters.into_iter().try_fold(0, |sum, getter| {
            let received = getter.join().map_err(|_| anyhow::anyhow!("a getter panicked"))??;
            anyhow::Ok(sum + received)
        })
    })?;
    let (took, cpu) = (begin.elapsed(), cpu_time().saturating_sub(cpu));

    peer_sample::print(&Transfer {
        bytes: options.bytes,
        received,
        is_intact: is_same(&source, &copy)?,
        seconds: took.as_secs_f64(),
        cpu_seconds: cpu.as_secs_f64(),
        peak: peak_memory_of("self")?,
    })
}

fn shares_of(options: &Options) -> Vec<Range<u64>> {
    shares(options.bytes, options.providers, 1)
}

fn provide(source: &Path, share: &Range<u64>, listener: &TcpListener) -> anyhow::Result<u64> {
    let (mut stream, _) = listener.accept()?;
    let mut file = File::open(source)?;
    file.seek(SeekFrom::Start(share.start))?;
    Ok(io::copy(&mut file.take(share.end - share.start), &mut stream)?)
}

fn get(copy: &Path, share: &Range<u64>, address: SocketAddr) -> anyhow::Result<u64> {
    let mut stream = TcpStream::connect(address).context("the provider listens")?;
    let file = File::options().write(true).open(copy)?;
    let mut block = vec![0; BLOCK];
    let mut received = 0;
    loop {
        let length = stream.read(&mut block)?;
        if length == 0 {
            return Ok(received);
        }
        file.write_all_at(&block[..length], share.start + received)?;
        received += length as u64;
    }
}
