//! The pages of the site under test: no file, no framework.

/// The page of a user who is signed in.
pub fn home(user: &str, title: &str) -> String {
    let ahead =
        r#"<a id="account" href="/account">account</a> <a id="public" href="/public">public</a>"#;
    let body = format!(
        r#"<h1>{title}</h1>
        <p>Signed in as <b id="user">{user}</b>.</p>
        <p>Last answer: <code id="answer">none</code></p>
        <p>Events: <code id="events">none</code></p>
        <p>{ahead}</p>
        <button id="logout" onclick="logout()">Sign out</button>"#
    );
    page(title, &body)
}

/// The page that a user who is signed out is sent to.
pub fn login(to: &str) -> String {
    let at_server: String = to.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let to = to.replace('&', "&amp;").replace('"', "&quot;");
    let button = |user: &str| {
        format!(r#"<button id="{user}" name="user" value="{user}">Sign in as {user}</button> "#)
    };
    let body = format!(
        r#"<h1>Login</h1>
        <form method="post" action="/login"><input type="hidden" name="to" value="{to}">{}{}</form>
        <p><a id="server" href="/sign-in?to={at_server}">Sign in at the authorization server</a></p>"#,
        button("ann"),
        button("ben")
    );
    page("Login", &body)
}

/// A page that needs no session, and has the browser load others ahead.
pub fn public(rules: &str) -> String {
    let body = format!(
        r#"<h1>Public</h1>
        <p>Last answer: <code id="answer">none</code></p>
        <p><a id="account" href="/account">account</a></p>
        <script type="speculationrules">{rules}</script>"#
    );
    page("Public", &body)
}

fn page(title: &str, body: &str) -> String {
    format!(
        r#"<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>
        <link rel="icon" href="data:,"><style>body {{ font: 18px sans-serif; margin: 2em }}</style></head>
        <body id="page">{body}<script src="/app.js"></script></body></html>"#
    )
}

/// The script of all pages. `together` has every tab do the same at the same moment.
pub const SCRIPT: &str = r#"
function show(id, text) {
    const element = document.getElementById(id);
    if (element) element.textContent = text;
}

async function ask(path, init) {
    try {
        const answer = await fetch(path, init);
        return `${answer.status} ${await answer.text()}`;
    } catch (error) {
        return error.name;
    }
}

const together = new BroadcastChannel('together');
together.onmessage = async ({ data }) => {
    if (data.reload) location.reload();
    else show('answer', `${data.turn} ${await ask(data.path)}`);
};

async function logout() {
    await ask('/session/logout', { method: 'POST' });
    location.href = '/public';
}

function listen() {
    window.source = new EventSource('/api/events');
    source.onmessage = ({ data }) => show('events', data);
}

function socket(url) {
    const socket = new WebSocket(url);
    window.theSocket = socket;
    socket.onopen = () => socket.send('hello');
    socket.onmessage = ({ data }) => show('answer', data);
    socket.onclose = ({ code, wasClean }) => show('answer', `closed ${code} ${wasClean}`);
}

// A page that the browser restores out of its memory is not loaded again.
addEventListener('pageshow', ({ persisted }) => { window.isRestored = persisted; });
addEventListener('pagehide', () => { window.isRestored = false; });
"#;
