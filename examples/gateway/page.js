// The page calls the API once a second, keeps its session alive, and signs out.
const show = (id, text) => { document.getElementById(id).textContent = text; };
const toLogin = () => { location.href = "/login?to=" + encodeURIComponent(location.pathname); };

async function call() {
  const answer = await fetch("/api/orders");
  const item = document.createElement("li");
  const text = await answer.text();
  item.textContent = `${new Date().toLocaleTimeString()}: ${answer.status} ${text}`;
  const list = document.getElementById("answers");
  list.prepend(item);
  while (list.children.length > 10) list.lastChild.remove();
  // The API may have a 401 of its own.
  if (answer.status === 401 && text.includes('"signed_out"')) toLogin();
}

async function beat() {
  let next = 10;
  try {
    const answer = await fetch("/session/heartbeat", { method: "POST" });
    if (answer.status === 401) return toLogin();
    const state = await answer.json();
    next = state.next_heartbeat_in ?? next;
    show("state", `Signed in. The next heartbeat is in ${next} s.`);
  } catch (error) {
    show("state", `No connection: ${error}`);
  }
  setTimeout(beat, next * 1000);
}

document.getElementById("call").onclick = call;
document.getElementById("logout").onclick = async () => {
  await fetch("/session/logout", { method: "POST" });
  show("state", "Signed out.");
  toLogin();
};
setInterval(call, 1000);
beat();
