// Progress of a task while it runs: a bar above a container, and previews in a gallery.
"use strict";

function randomId() {
    const part = () => Math.random().toString(36).slice(2, 7);
    return `task(${part()}${part()}${part()})`;
}

async function askProgress(question) {
    const answer = await fetch("./internal/progress", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(question),
    });
    if (!answer.ok) {
        throw new Error(`progress: ${answer.status}`);
    }
    return answer.json();
}

function progressPeriod() {
    return opts.live_preview_refresh_period || 500;
}

function addProgressBar(container) {
    const bar = document.createElement("div");
    bar.className = "progressDiv";
    bar.style.display = opts.show_progressbar === false ? "none" : "block";
    const inner = document.createElement("div");
    inner.className = "progress";
    bar.appendChild(inner);
    container.parentNode.insertBefore(bar, container);
    return bar;
}

function progressText(res) {
    const percent = res.progress > 0 ? Math.floor(res.progress * 100) + "%" : "";
    const eta = res.eta ? ` ETA: ${Math.floor(res.eta)}s` : "";
    const said = res.textinfo && !res.textinfo.includes("\n") ? res.textinfo + " " : "";
    return said + percent + eta;
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

// Asks for the task's progress, and apart from that for its previews where a gallery is given, until it is over, nobody knows it for so
// many seconds, or the server does not answer. `atEnd` is called once.
function requestProgress(id_task, progressbarContainer, gallery, atEnd, onProgress, inactivityTimeout = 40) {
    const bar = addProgressBar(progressbarContainer);
    const started = Date.now();
    let over = false;
    let wasActive = false;

    function finish() {
        if (over) {
            return;
        }
        over = true;
        bar.remove();
        const holder = gallery && gallery.querySelector(".livePreview");
        if (holder) {
            holder.remove();
        }
        atEnd();
    }

    function hasEnded(res) {
        const forgotten = (Date.now() - started) / 1000 > inactivityTimeout && !res.queued && !res.active;
        return res.completed || (wasActive && !res.active) || forgotten;
    }

    // Calls `next` with each answer, until that returns false or the task is over.
    async function poll(question, next) {
        while (!over) {
            let res;
            try {
                res = await askProgress({ id_task, ...question });
            } catch (e) {
                return finish();
            }
            if (over || !next(res)) {
                return;
            }
            question.id_live_preview = res.id_live_preview;
            await new Promise((resolve) => setTimeout(resolve, progressPeriod()));
        }
    }

    poll({ live_preview: false }, (res) => {
        if (hasEnded(res)) {
            finish();
            return false;
        }
        wasActive = wasActive || res.active;
        const inner = bar.firstElementChild;
        inner.style.width = (res.progress || 0) * 100 + "%";
        inner.style.background = res.progress ? "" : "transparent";
        inner.textContent = progressText(res);
        if (onProgress) {
            onProgress(res);
        }
        return true;
    });
    if (gallery) {
        poll({ id_live_preview: 0 }, (res) => {
            if (res.live_preview) {
                showPreview(gallery, res.live_preview);
            }
            return true;
        });
    }
}
