//! Whether asciinema records this terminal: then the mouse is left alone, for whoever plays the cast would have the
//! sequences that switch it on done to their own terminal.

/// How far up it is looked for: a shell or two, sudo and its helper.
const GENERATIONS: usize = 12;

/// Set by asciinema 2, and by 3.
const WORDS: [&str; 2] = ["ASCIINEMA_REC", "ASCIINEMA_SESSION"];

/// Asks the environment, and, as sudo clears that, the names of the parents.
pub(super) fn by_asciinema() -> bool {
    WORDS.iter().any(|word| std::env::var_os(word).is_some()) || ancestors().any(|name| name == "asciinema")
}

/// The names of the parents, the nearest first.
fn ancestors() -> impl Iterator<Item = String> {
    let parent = |pid: u32| {
        let status = super::own::status_of(pid)?;
        let field = |name: &str| Some(status.lines().find_map(|line| line.strip_prefix(name))?.trim().to_owned());
        Some((field("PPid:")?.parse::<u32>().ok()?, field("Name:")?))
    };
    let own = std::os::unix::process::parent_id();
    std::iter::successors(parent(own), move |(ppid, _)| parent(*ppid).filter(|_| *ppid > 0))
        .take(GENERATIONS)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parents_have_names() {
        assert!(ancestors().next().is_some_and(|name| !name.is_empty()));
    }
}
