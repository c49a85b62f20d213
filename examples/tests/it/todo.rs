//! Two people with one list, apart and together.

use std::{path::Path, process::Command};

use crate::Person;

/// Somebody at the program, who begins it in some way.
fn at(data: &Path, start: &[&str]) -> Person {
    let mut command = Command::new(env!("CARGO_BIN_EXE_todo"));
    command.args(["--local", "--mesh", "a list for a test", "--data"]).arg(data).args(start);
    Person::starts(command)
}

fn ticket(person: &Person) -> String {
    let line = person.sees(|line| line.starts_with("others: todo join "));
    line.rsplit(' ').next().unwrap().to_owned()
}

/// The next list that is shown.
fn list(person: &Person) -> Vec<String> {
    let header = person.sees(|line| line.contains(" to do, "));
    let numbers = header.split(' ').filter_map(|word| word.parse::<usize>().ok());
    let items: usize = numbers.sum();
    (0..items).map(|_| person.sees(|_| true).trim().to_owned()).collect()
}

/// Waits until a list is shown that is as it should be.
fn sees(person: &Person, is_it: impl Fn(&[String]) -> bool) -> Vec<String> {
    loop {
        let list = list(person);
        if is_it(&list) {
            return list;
        }
    }
}

/// Says something, and waits until a list is shown that has all of these, and nothing else.
fn does(person: &mut Person, command: &str, items: &[&str]) -> Vec<String> {
    person.says(command);
    let has = |list: &[String], item: &str| list.iter().any(|line| line.ends_with(item));
    sees(person, |list| list.len() == items.len() && items.iter().all(|item| has(list, item)))
}

#[test]
fn a_list_is_edited_apart_and_together() {
    let folder = tempfile::tempdir().unwrap();
    let (ada_has, bob_has) = (folder.path().join("ada"), folder.path().join("bob"));

    let mut ada = at(&ada_has, &["create"]);
    let invitation = ticket(&ada);
    does(&mut ada, "add milk", &["[ ] milk"]);
    does(&mut ada, "add bread", &["[ ] milk", "[ ] bread"]);
    ada.says("move 2 1");
    sees(&ada, |list| list == ["1. [ ] bread", "2. [ ] milk"]);
    ada.leaves();

    // Ada is away, so bob begins with nothing.
    let mut bob = at(&bob_has, &["join", &invitation]);
    assert!(list(&bob).is_empty());
    does(&mut bob, "add tea", &["[ ] tea"]);
    does(&mut bob, "done 1", &["[x] tea"]);
    bob.says("done 7");
    bob.sees(|line| line.ends_with("\"7\" is no item's number"));
    does(&mut bob, "add honey", &["[x] tea", "[ ] honey"]);

    // They meet, and each has what both did.
    bob.says("ticket");
    let mut ada = at(&ada_has, &["join", &ticket(&bob)]);
    let both = does(&mut ada, "list", &["[ ] bread", "[ ] milk", "[x] tea", "[ ] honey"]);
    sees(&bob, |list| list == both);

    // Bob takes back what he did, and nothing of what ada does.
    let tea = 1 + both.iter().position(|line| line.ends_with("tea")).unwrap();
    let all = ["[ ] bread", "[ ] milk", "[x] green tea", "[ ] honey"];
    let green = does(&mut ada, &format!("edit {tea} green tea"), &all);
    sees(&bob, |list| list == green);
    let less = does(&mut bob, "undo", &all[..3]);
    sees(&ada, |list| list == less);
    does(&mut bob, "redo", &all);
    does(&mut bob, "undo", &all[..3]);
    bob.says("redo");
    sees(&ada, |list| list == green);

    // What was done before the program was started stays done.
    let last = does(&mut ada, "undo", &["[ ] bread", "[ ] milk", "[x] tea", "[ ] honey"]);
    ada.says("undo");
    ada.sees(|line| line == "nothing to undo");
    sees(&bob, |list| list == last);

    ada.leaves();
    bob.leaves();
    for data in [&ada_has, &bob_has] {
        let again = at(data, &["open"]);
        assert_eq!(list(&again), last);
        again.leaves();
    }
}
