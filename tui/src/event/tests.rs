use super::*;
use proptest::prelude::*;

fn path(dir: Option<&str>, name: &str) -> String {
    let mut builder = RecordBuilder::new(1, "sh", name);
    builder.dir = dir.map(|d| d.as_bytes().to_vec());
    let bytes = builder.build();
    let mut out = Vec::new();
    Event::decode(&bytes).unwrap().path_into(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn a_relative_name_is_joined_to_its_directory() {
    assert_eq!(path(Some("/home/u"), "x"), "/home/u/x");
    assert_eq!(path(Some("/"), "x"), "/x");
    assert_eq!(path(Some("/"), ""), "/");
    assert_eq!(path(Some("/home"), ""), "/home");
    assert_eq!(path(Some("/home/u"), "/etc/x"), "/etc/x");
    assert_eq!(path(None, "x/y"), "x/y");
}

#[test]
fn leading_dots_fold_and_inner_ones_stay() {
    assert_eq!(path(Some("/home/u"), "./x"), "/home/u/x");
    assert_eq!(path(Some("/home/u"), "../x"), "/home/x");
    assert_eq!(path(Some("/home/u"), "../../../../x"), "/x");
    assert_eq!(path(Some("/home/u"), ".."), "/home");
    assert_eq!(path(Some("/home/u"), "."), "/home/u");
    assert_eq!(path(Some("/home/u"), "a/../x"), "/home/u/a/../x");
    assert_eq!(path(Some("/home/u"), ".x"), "/home/u/.x");
    assert_eq!(path(Some("/home/u"), "x/"), "/home/u/x/");
}

#[test]
fn a_deep_directory_keeps_its_order() {
    let deep: String = (0..60).map(|i| format!("/d{i}")).collect();
    assert_eq!(path(Some(&deep), "x"), format!("{deep}/x"));
}

#[test]
fn a_cut_or_deleted_directory_says_so() {
    let mut builder = RecordBuilder::new(1, "sh", "x").dir("/a/b");
    builder.header.marks = marks::DIR_DELETED;
    let bytes = builder.build();
    let mut out = Vec::new();
    Event::decode(&bytes).unwrap().path_into(&mut out);
    assert_eq!(out, b"/a/b (deleted)/x");
    builder.header.marks = marks::DIR_TRUNCATED;
    let bytes = builder.build();
    out.clear();
    Event::decode(&bytes).unwrap().path_into(&mut out);
    assert_eq!(out, b".../a/b/x");
}

proptest! {
    #[test]
    fn decoding_any_bytes_never_panics(mut bytes in proptest::collection::vec(any::<u8>(), 0..400), valid in any::<bool>()) {
        if valid && bytes.len() > 2 {
            bytes[0] = RECORD_VERSION;
            bytes[1] %= 8;
        }
        if let Ok(event) = Event::decode(&bytes) {
            let mut path = Vec::new();
            event.path_into(&mut path);
            let _ = (event.comm(), event.fd(), event.errno(), event.route(), format!("{event:?}"));
        }
    }

    #[test]
    fn a_built_record_decodes_to_itself(name in proptest::collection::vec(any::<u8>(), 0..5000)) {
        let builder = RecordBuilder::new(7, "cc1", &name).dir("/usr/src");
        let bytes = builder.build();
        let event = Event::decode(&bytes).unwrap();
        prop_assert_eq!(event.name(), &name[..]);
        prop_assert_eq!(event.len(), bytes.len());
        prop_assert_eq!(event.comm(), b"cc1");
    }
}
