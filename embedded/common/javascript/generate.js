// A generation of the page: it is given an id, by which its progress is asked for; and the gallery that it ends in.
"use strict";

function shownWhileRunning(tab, isRunning) {
    for (const name of ["interrupt", "skip"]) {
        byId(`${tab}_${name}`).style.display = isRunning ? "block" : "none";
    }
}

async function askProgress(question) {
    const headers = { "Content-Type": "application/json" };
    const answer = await fetch("./internal/progress", { method: "POST", headers, body: JSON.stringify(question) });
    return answer.ok ? answer.json() : { active: false, queued: false };
}

// A bar above the gallery and the host's preview in it, until nobody knows the task any more; the server may not have heard of it yet.
async function follow(tab, id) {
    const container = byId(`${tab}_gallery_container`);
    const bar = Object.assign(document.createElement("div"), { className: "progressDiv", innerHTML: "<div class=progress></div>" });
    const preview = Object.assign(document.createElement("img"), { className: "livePreview" });
    container.before(bar);
    let seen = 0;
    for (let failures = 0; failures < 3; ) {
        const told = await askProgress({ id_task: id, id_live_preview: seen }).catch(() => ({}));
        failures = told.active || told.queued ? 0 : failures + 1;
        bar.firstElementChild.style.width = `${100 * (told.progress || 0)}%`;
        bar.firstElementChild.textContent = told.queued ? "Waiting" : told.textinfo || `${Math.floor(100 * (told.progress || 0))} %`;
        if (told.live_preview) {
            seen = told.id_live_preview;
            preview.src = told.live_preview;
            byId(`${tab}_gallery`).prepend(preview);
        }
        await new Promise((resolve) => setTimeout(resolve, failures ? 200 : 500));
    }
    bar.remove();
    preview.remove();
    shownWhileRunning(tab, false);
}

// What Generate sends: the inputs, the task's id in the first one's place.
function startTask(tab, inputs) {
    const id = `task(${Math.random().toString(36).slice(2)})`;
    shownWhileRunning(tab, true);
    follow(tab, id);
    return [id, ...inputs.slice(1)];
}

function thumbnails() {
    const galleries = [...gradioApp().querySelectorAll("[id$=_gallery]")].filter((gallery) => gallery.offsetParent);
    return galleries.flatMap((gallery) => [...gallery.querySelectorAll(".thumbnails > .thumbnail-small")]);
}

function selectedNumber() {
    return thumbnails().findIndex((thumbnail) => thumbnail.classList.contains("selected"));
}

// Of a gallery's pictures the one that is chosen, or the first.
function selectedPicture(pictures) {
    const chosen = pictures[Math.max(selectedNumber(), 0)];
    return [chosen ? [chosen] : null];
}

// The infotext below the gallery follows the picture that is chosen.
let lastSelected = -1;
onAfterUiUpdate(() => {
    const number = selectedNumber();
    if (number !== -1 && number !== lastSelected) {
        const gallery = thumbnails()[number].closest("[id$=_gallery]");
        byId(gallery.id.replace("_gallery", "_generation_info_button")).click();
    }
    lastSelected = number;
});

// "inpaint" is a tab of img2img's.
function showTab(name) {
    const outer = name === "inpaint" ? "img2img" : name;
    tabButtons().find((button) => button.textContent.trim() === outer).click();
    if (outer === "img2img") {
        gradioApp().querySelectorAll("#mode_img2img button")[name === "inpaint" ? 1 : 0].click();
    }
}

// After "Reload UI": the page comes again once the server answers.
function reloadWhenBack() {
    document.body.innerHTML = '<h1 class="reloading">Reloading...</h1>';
    const ask = () =>
        fetch("./internal/ping").then(
            (answer) => (answer.ok ? location.reload() : setTimeout(ask, 500)),
            () => setTimeout(ask, 500)
        );
    setTimeout(ask, 2000);
    return [];
}

document.addEventListener("keydown", (event) => {
    const button = [...gradioApp().querySelectorAll("button[id$=_generate]")].find((one) => one.offsetParent);
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && button) {
        event.preventDefault();
        button.click();
    }
});
