//! The programs that were built, and what AWS would be given of them.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use flate2::Compression;
use flate2::write::DeflateEncoder;

use crate::events::workspace;

/// The release build of a package, whichever profile is its own.
pub fn find(target: &Path, package: &str) -> Option<PathBuf> {
    // `make package` says the same.
    let profile = if ["normalizer", "sales-replies"].contains(&package) { "release-unwind" } else { "release" };
    Some(target.join(profile).join(package)).filter(|program| program.is_file())
}

/// What a package with nothing but this program weighs, in bytes: deflated as `zip` does it.
pub fn zipped_size(program: &Path) -> anyhow::Result<usize> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::new(6));
    encoder.write_all(&std::fs::read(program)?)?;
    // A local header, an entry of the directory and its end, with the name `bootstrap` twice.
    Ok(encoder.finish()?.len() + 30 + 46 + 22 + 2 * "bootstrap".len())
}

/// A copy that trusts one authority more than it should: one of the embedded roots is replaced by it, and nothing else. So
/// what is measured is the program that is deployed, over TLS as on AWS, without a switch in it that nobody must ever use.
pub fn trusting(program: &Path, authority: &str, target: &Path) -> anyhow::Result<PathBuf> {
    let roots = std::fs::read_to_string(workspace().join("shared/src/amazon-roots.pem"))?;
    let end = "-----END CERTIFICATE-----\n";
    let from = roots.find("-----BEGIN").context("there are no roots")?;
    let root =
        roots.get(from..).and_then(|rest| rest.get(..rest.find(end)? + end.len())).context("there are no roots")?;
    let mut bytes = std::fs::read(program)?;
    let found: Vec<usize> = places(&bytes, root.as_bytes()).collect();
    if found.is_empty() {
        // It calls nobody.
        return Ok(program.to_path_buf());
    }
    ensure!(authority.len() <= root.len(), "the authority's certificate is longer than the root that it replaces");
    // What stands between certificates is not read.
    let padded = authority.bytes().chain(std::iter::repeat(b'\n'));
    for place in found {
        bytes.iter_mut().skip(place).zip(padded.clone().take(root.len())).for_each(|(byte, new)| *byte = new);
    }
    let folder = target.join("bench");
    std::fs::create_dir_all(&folder)?;
    let copy = folder.join(program.file_name().context("a program has a name")?);
    std::fs::write(&copy, bytes)?;
    std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o755))?;
    Ok(copy)
}

fn places<'a>(bytes: &'a [u8], words: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    bytes.windows(words.len()).enumerate().filter(move |(_, window)| *window == words).map(|(place, _)| place)
}
