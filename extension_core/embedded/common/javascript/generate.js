// Buttons Generate, Interrupt and Skip, progress while a task runs, and what is selected in the gallery.
"use strict";

function all_gallery_buttons() {
    const thumbnails = gradioApp().querySelectorAll('[style="display: block;"].tabitem div[id$=_gallery].gradio-gallery .thumbnails > .thumbnail-small');
    return Array.from(thumbnails);
}

function selected_gallery_button() {
    return all_gallery_buttons().find((element) => element.classList.contains("selected")) || null;
}

function selected_gallery_index() {
    return all_gallery_buttons().findIndex((element) => element.classList.contains("selected"));
}

function extract_image_from_gallery(gallery) {
    if (gallery.length === 0) {
        return [null];
    }
    const index = selected_gallery_index();
    return [[gallery[index < 0 || index >= gallery.length ? 0 : index]]];
}

function switch_to_tab(name) {
    const labels = Array.from(gradioApp().querySelectorAll("#tabs > .tab-nav > button"));
    const button = labels.find((x) => x.textContent.trim() === name);
    if (button) {
        button.click();
    }
    return Array.from(arguments).slice(1);
}

function switch_to_txt2img() {
    return switch_to_tab("txt2img", ...arguments);
}

function switch_to_img2img() {
    return switch_to_tab("img2img", ...arguments);
}

function showSubmitButtons(tabname, show) {
    gradioApp().getElementById(tabname + "_generate_box").classList.toggle("running", !show);
}

function randomId() {
    return "task(" + Math.random().toString(36).slice(2, 7) + Math.random().toString(36).slice(2, 7) + ")";
}

async function askProgress(id, preview) {
    const answer = await fetch("./internal/progress", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ id_task: id, id_live_preview: preview, live_preview: true }),
    });
    return answer.json();
}

function progressParts(container) {
    const bar = document.createElement("div");
    bar.className = "progressDiv";
    const inner = document.createElement("div");
    inner.className = "progress";
    bar.appendChild(inner);
    container.parentNode.insertBefore(bar, container);
    return [bar, inner];
}

function showPreview(gallery, source) {
    let holder = gallery.querySelector(".livePreview");
    if (!holder) {
        holder = document.createElement("div");
        holder.className = "livePreview";
        gallery.insertBefore(holder, gallery.firstElementChild);
    }
    const image = new Image();
    image.src = source;
    holder.replaceChildren(image);
}

// Asks for progress until the task is over; `atEnd` is called once.
function requestProgress(id, container, gallery, atEnd, onProgress) {
    const [bar, inner] = progressParts(container);
    let wasActive = false;
    let preview = 0;
    const started = Date.now();
    const finish = () => {
        bar.remove();
        const holder = gallery && gallery.querySelector(".livePreview");
        if (holder) {
            holder.remove();
        }
        atEnd();
    };
    const ask = async () => {
        let res = null;
        try {
            res = await askProgress(id, preview);
        } catch (e) {
            return finish();
        }
        const waitedLong = Date.now() - started > 40000;
        if (res.completed || (wasActive && !res.active && !res.queued) || (!res.active && !res.queued && waitedLong)) {
            return finish();
        }
        wasActive = wasActive || res.active;
        inner.style.width = (res.progress || 0) * 100 + "%";
        inner.textContent = res.textinfo || (res.progress ? Math.floor(res.progress * 100) + "%" : "");
        if (res.live_preview && gallery) {
            preview = res.id_live_preview;
            showPreview(gallery, res.live_preview);
        }
        if (onProgress) {
            onProgress(res);
        }
        setTimeout(ask, 300);
    };
    ask();
}

function submitTo(tabname, args) {
    const id = randomId();
    showSubmitButtons(tabname, false);
    requestProgress(
        id,
        gradioApp().getElementById(tabname + "_gallery_container"),
        gradioApp().getElementById(tabname + "_gallery"),
        () => showSubmitButtons(tabname, true),
    );
    const res = Array.from(args);
    res[0] = id;
    return res;
}

function submit() {
    return submitTo("txt2img", arguments);
}

function submit_img2img() {
    return submitTo("img2img", arguments);
}

function setRandomSeed(elem_id) {
    const input = gradioApp().querySelector("#" + elem_id + " input");
    if (input) {
        input.value = "-1";
        updateInput(input);
    }
    return [];
}

function restart_reload() {
    document.body.innerHTML = '<h1 class="reloading">Reloading...</h1>';
    const ping = () => fetch("./internal/ping").then((r) => (r.ok ? location.reload() : setTimeout(ping, 500))).catch(() => setTimeout(ping, 500));
    setTimeout(ping, 2000);
    return [];
}

document.addEventListener("keydown", (e) => {
    if (e.key === "Enter" && (e.ctrlKey || e.metaKey || e.altKey)) {
        const tab = get_uiCurrentTabContent();
        const button = tab && tab.querySelector("button[id$=_generate]");
        if (button) {
            button.click();
            e.preventDefault();
        }
    }
});

// The infotext below the gallery follows the picture that is selected.
let lastSelected = {};
onAfterUiUpdate(() => {
    const tab = get_uiCurrentTabContent();
    const name = tab && tab.id.replace("tab_", "");
    const index = selected_gallery_index();
    if (name && index !== -1 && lastSelected[name] !== index) {
        lastSelected[name] = index;
        const button = gradioApp().getElementById(name + "_generation_info_button");
        if (button) {
            button.click();
        }
    }
});
