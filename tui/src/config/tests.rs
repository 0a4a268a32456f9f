use super::*;

fn messages(text: &str) -> Vec<String> {
    parse(text).1.into_iter().map(|c| format!("{}: {}", c.line, c.message)).collect()
}

/// The default with its settings in force.
fn uncommented() -> String {
    default_text("/x")
        .lines()
        .filter(|line| !line.starts_with("##"))
        .map(|line| line.strip_prefix("# ").unwrap_or(line).to_owned() + "\n")
        .collect()
}

#[test]
fn the_default_that_is_printed_is_the_default() {
    assert!(messages(&default_text("/x")).is_empty());
    assert_eq!(messages(&uncommented()), Vec::<String>::new(), "{}", uncommented());
    let (config, _) = parse(&uncommented());
    let options = crate::model::Options::default();
    assert_eq!(config.theme, Some(ThemeName::Dark));
    assert_eq!(config.layout, Some(Layout::default()));
    assert_eq!(config.columns, Some(Columns::default()));
    assert_eq!(config.history, Some(options.history.events));
    assert_eq!(config.interval, Some(Duration::from_nanos(options.interval_ns)));
    assert_eq!((config.filter, config.mouse, config.ascii), (None, Some(true), Some(false)));
    for binding in BINDINGS {
        assert_eq!(config.keymap.keys(binding.action), binding.keys);
    }
    for setting in SETTINGS {
        assert!(uncommented().contains(setting), "{setting}");
    }
}

#[test]
fn what_is_wrong_is_told_with_its_line_and_the_nearest_right_word_and_the_rest_holds() {
    let text = "theem = \"dark\"\nlayout = \"sied\"\nhistory = 0\ncolumns = [\"pid\", \"com\"]\nmouse = \"no\"\n\
                interval = \"5ms\"\nfilter = \"comm:(\"\nascii = true\n";
    let (config, _) = parse(text);
    assert_eq!(config.ascii, Some(true));
    assert_eq!(config.columns.map(|c| c.iter().count()), Some(1));
    let messages = messages(text);
    assert_eq!(messages.len(), 7, "{messages:#?}");
    assert_eq!(messages[0], "1: there is no setting theem; did you mean theme?");
    assert!(messages[1].starts_with("2: layout: there is no sied; did you mean side?"), "{}", messages[1]);
    assert!(messages[2].starts_with("3: history: 0 is not a number of opens"), "{}", messages[2]);
    assert_eq!(messages[3], "4: columns: there is no column com; did you mean comm?");
    assert_eq!(messages[4], "5: mouse: no is not true or false");
    assert!(messages[5].starts_with("6: interval: 5ms is not a time from"), "{}", messages[5]);
    assert!(messages[6].starts_with("7: filter: "), "{}", messages[6]);
}

#[test]
fn a_line_that_is_no_toml_does_not_take_the_others_with_it() {
    let (config, complaints) = parse("theme = \"light\"\nhistory = = 5\nascii = true\n");
    assert_eq!(complaints.first().map(|c| c.line), Some(2));
    assert_eq!((config.theme, config.ascii), (Some(ThemeName::Light), Some(true)));
}

#[test]
fn keys_are_bound_anew_and_conflicts_are_told() {
    let (config, complaints) =
        parse("[keys]\npause = \"P\"\nquit = [\"q\", \"P\"]\nsearch-nxt = \"m\"\nfilter = \"F99\"\n");
    let all: Vec<_> = complaints.iter().map(|c| format!("{}: {}", c.line, c.message)).collect();
    assert!(all.iter().any(|c| c.contains("P is given to pause and to quit")), "{all:#?}");
    assert!(all.iter().any(|c| c == "4: keys: there is nothing called search-nxt to do; did you mean search-next?"));
    assert!(all.iter().any(|c| c.starts_with("5: keys: filter: there is no key F99")));
    assert_eq!(config.keymap.keys(Action::Pause), ["P"]);
    assert_eq!(config.keymap.keys(Action::Quit), ["q"]);
}

#[test]
fn an_action_that_lost_its_last_key_is_named_and_there_is_always_a_way_out() {
    let (config, complaints) = parse("[keys]\npause = \"n\"\nquit = []\n");
    assert!(complaints.iter().any(|c| c.message.contains("search-next has lost its keys")), "{complaints:?}");
    assert_eq!(config.keymap.keys(Action::Quit), ["Ctrl-c"]);
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic_or_say_a_raw_control_byte(text in ".{0,200}") {
        for complaint in parse(&text).1 {
            proptest::prop_assert!(!complaint.message.chars().any(char::is_control));
        }
    }
}
