// A generation of the page: it is given an id, by which its progress is asked for; and what is sent from tab to tab.
"use strict";

function shownWhileRunning(tab, isRunning) {
    for (const name of ["interrupt", "skip"]) {
        byId(`${tab}_${name}`).style.display = isRunning ? "block" : "none";
    }
}

// A bar above the gallery, until nobody knows the task any more; the server may not have heard of it yet.
async function follow(tab, id) {
    const bar = Object.assign(document.createElement("div"), { className: "progressDiv", innerHTML: "<div class=progress></div>" });
    byId(`${tab}_gallery_container`).before(bar);
    for (let failures = 0; failures < 3; ) {
        const answer = await fetch(`./internal/progress?id_task=${encodeURIComponent(id)}`).catch(() => null);
        const told = answer && answer.ok ? await answer.json() : {};
        failures = told.active || told.queued ? 0 : failures + 1;
        const share = `${Math.floor(100 * (told.progress || 0))}%`;
        bar.firstElementChild.style.width = share;
        bar.firstElementChild.textContent = told.queued ? "Waiting" : told.textinfo || share;
        await new Promise((resolve) => setTimeout(resolve, failures ? 200 : 500));
    }
    bar.remove();
    shownWhileRunning(tab, false);
}

// What Generate sends: the inputs, the task's id in the first one's place.
function startTask(tab, inputs) {
    const id = `task(${Math.random().toString(36).slice(2)})`;
    shownWhileRunning(tab, true);
    follow(tab, id);
    return [id, ...inputs.slice(1)];
}

function showTab(name) {
    tabButtons().find((button) => button.textContent.trim() === name).click();
}

// After "Reload UI": the page comes again once the server answers. What the old one took and never answers is given up.
function reloadWhenBack() {
    document.body.innerHTML = '<h1 class="reloading">Reloading...</h1>';
    const ask = () =>
        fetch("./internal/ping", { signal: AbortSignal.timeout(2000) }).then(
            (answer) => (answer.ok ? location.reload() : setTimeout(ask, 500)),
            () => setTimeout(ask, 500)
        );
    setTimeout(ask, 2000);
    return [];
}
