// What makes the page handier where scripts run. Everything works without it.
"use strict";

document.documentElement.classList.add("scripted");

const say = text => { document.getElementById("said").textContent = text; };

// Browsers offer the clipboard's API to pages over TLS and from loopback only; selecting works everywhere.
const copyText = async text => {
	if (navigator.clipboard) return navigator.clipboard.writeText(text);
	const area = document.createElement("textarea");
	area.value = text;
	area.className = "unseen";
	document.body.append(area);
	area.select();
	const copied = document.execCommand("copy");
	area.remove();
	if (!copied) throw new Error("the browser does not copy");
};

const quiet = new WeakMap(); // timers that end what a button says

document.addEventListener("click", async event => {
	const button = event.target.closest("button[data-copy]");
	if (!button) return;
	const text = button.dataset.copy || button.parentElement.querySelector("code").textContent;
	const copied = await copyText(text).then(() => true, () => false);
	const word = copied ? "Copied" : "Not copied";
	button.focus();
	const label = button.firstChild;
	button.dataset.label ??= label.textContent;
	label.textContent = word;
	button.classList.toggle("done", copied);
	say(word);
	clearTimeout(quiet.get(button));
	quiet.set(button, setTimeout(() => {
		label.textContent = button.dataset.label;
		button.classList.remove("done");
		say("");
	}, 2000));
});

document.addEventListener("keydown", event => {
	if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
	if (event.target.closest("input, select, textarea")) return;
	const field = document.querySelector("[data-find]");
	if (!field) return;
	event.preventDefault();
	field.focus();
	field.select();
});

// becomes changes what differs only, so that focus, selection and transitions outlive it.
const becomes = (old, now) => {
	if (old.nodeName !== now.nodeName || old.childNodes.length !== now.childNodes.length) return old.replaceWith(now.cloneNode(true));
	if (old.nodeType !== Node.ELEMENT_NODE) {
		if (old.nodeValue !== now.nodeValue) old.nodeValue = now.nodeValue;
		return;
	}
	for (const { name } of [...old.attributes]) if (!now.hasAttribute(name)) old.removeAttribute(name);
	for (const { name, value } of now.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
	[...old.childNodes].forEach((child, i) => becomes(child, now.childNodes[i]));
};

const watch = path => {
	const every = 2000, longest = 60000;
	const stalled = document.getElementById("stalled");
	let wait = every, timer, asking = false;
	const ask = async () => {
		asking = true;
		try {
			const answer = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(10000) });
			if (!answer.ok) throw new Error(answer.status);
			const parts = new DOMParser().parseFromString(await answer.text(), "text/html").body.children;
			for (const part of parts) becomes(document.getElementById(part.id), part);
			wait = every;
			if (stalled.textContent) stalled.textContent = "";
		} catch {
			wait = Math.min(wait * 2, longest);
			if (!stalled.textContent) stalled.textContent = "These figures stand still: no new ones come from the server.";
		}
		asking = false;
		plan(wait);
	};
	const plan = wait => {
		clearTimeout(timer);
		if (!document.hidden && !asking) timer = setTimeout(ask, wait);
	};
	document.addEventListener("visibilitychange", () => plan(0));
	plan(wait);
};

const live = document.querySelector("[data-live]");
if (live) watch(live.dataset.live);
