//! Three web servers, of which one dies.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::Command,
    thread,
    time::Duration,
};

use crate::{DEADLINE, Person};

/// A server of the site.
struct Server {
    program: Person,
    address: String,
    ticket: String,
}

impl Server {
    fn starts(data: &Path, start: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sessions"));
        command.args(["--local", "--mesh", "a site for a test", "--data"]).arg(data).args(start);
        let program = Person::starts(command);
        let after = |prefix: &str| {
            let line = program.sees(|line| line.starts_with(prefix));
            line[prefix.len()..].to_owned()
        };
        let (address, ticket) = (after("serving http://"), after("others: sessions join "));
        Self { program, address, ticket }
    }

    /// All that the server answers, headers and body.
    fn answers(&self, request: &str, cookie: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let headers = format!("Host: site\r\nCookie: other=1; {cookie}\r\nConnection: close");
        write!(stream, "{request} HTTP/1.1\r\n{headers}\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

/// Somebody with a browser, who is told at each visit how many there were.
struct Browser {
    cookie: String,
    visits: usize,
}

impl Browser {
    fn visits(&mut self, server: &Server) -> String {
        let answer = server.answers("GET /", &self.cookie);
        self.visits += usize::from(answer.contains("ada, visit"));
        answer
    }

    /// Visits a server again and again until it says this of so many visits.
    fn sees(&mut self, server: &Server, what: impl Fn(usize) -> String) {
        let pause = Duration::from_millis(50);
        let mut answer = String::new();
        for _ in 0..DEADLINE.as_millis() / pause.as_millis() {
            answer = self.visits(server);
            if answer.ends_with(&what(self.visits)) {
                return;
            }
            thread::sleep(pause);
        }
        panic!("{} doesn't come: {answer}", what(self.visits));
    }
}

#[test]
fn a_session_outlives_the_server_that_began_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = Server::starts(&folder.path().join("1"), &["create"]);
    let join = ["join", &first.ticket];
    let second = Server::starts(&folder.path().join("2"), &join);
    let third = Server::starts(&folder.path().join("3"), &join);

    let login = first.answers("POST /login?user=ada", "");
    assert!(login.ends_with("welcome, ada\n"), "{login}");
    let cookie = login.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let mut ada = Browser { cookie: cookie.clone(), visits: 0 };
    assert!(ada.visits(&first).ends_with("ada, visit 1\n"));
    assert!(first.answers("GET /", "").starts_with("HTTP/1.1 401"));
    let all = |visits: usize| format!("ada, visit {visits}\n");
    ada.sees(&second, all);
    ada.sees(&third, all);

    // With -9: it has no time to say anything to anybody.
    first.program.child.kill().unwrap();
    first.program.child.wait().unwrap();
    assert!(ada.visits(&third).contains("ada, visit"));
    ada.sees(&second, all);
    ada.sees(&third, all);

    let goodbye = third.answers("POST /logout", &cookie);
    assert!(goodbye.contains("Max-Age=0") && goodbye.ends_with("goodbye\n"), "{goodbye}");
    assert!(ada.visits(&third).starts_with("HTTP/1.1 401"));
    ada.sees(&second, |_| "not logged in\n".to_owned());

    // The one that died comes back, and hears of it.
    let first = Server::starts(&folder.path().join("1"), &["join", &second.ticket]);
    ada.sees(&first, |_| "not logged in\n".to_owned());
}
