// One tab's panel: controls, the strips of the page's newest generation, one frame large, and the structure curve.

const RUNNING_MS = 400;
const WAITING_MS = 800;
const STILL_MS = 3000;
const STILL_AFTER_MS = 60000;
const GRACE_MS = 8000;
const BUTTONS = {
    stop: "Stop here",
    follow: "Follow newest",
    save: "Save strip",
    compare: "Compare",
    cancel: "Cancel",
};

export class Panel {
    constructor(root, keys, parts) {
        const { Comparing, HostTab, Server, Strips, Poller, Pictures, Large, FullSize, TryIt } = parts;
        this.#root = root;
        this.#keys = keys;
        this.#parts = parts;
        this.#host = new HostTab(root.dataset);
        this.#server = new Server(parts, this.#closing.signal);
        this.#comparing = new Comparing(this.#host, keys);
        this.#tryIt = new TryIt(this.#host, parts, () => this.#compare("try"));
        this.#strips = new Strips();
        this.#pictures = new Pictures(parts);
        this.#large = new Large({ elements: parts, pictures: this.#pictures }, () => this.#open());
        this.#full = new FullSize({ ...parts, elements: parts }, (key) => this.#move(key));
        this.#poller = new Poller({
            request: () => ({ url: this.#strips.url, headers: { "X-DT-Key": keys.key(this.#host.name) } }),
            answered: (told) => this.#answered(told),
            pause: () => this.#pause(),
            able: () => this.#able(),
            trouble: (sentence) => this.#troubled(sentence),
        });
        this.#build();
        this.#listen();
        keys.ready.then(() => {
            this.#writeKey();
            if (keys.used) {
                this.#poller.wake();
            }
        });
        this.#render();
    }

    #root;
    #keys;
    #parts;
    #host;
    #server;
    #strips;
    #pictures;
    #large;
    #full;
    #poller;
    #views = new Map(); // generation's id -> {strip, curve}
    #controls = {};
    #kind = "guided";
    #pinned = null; // {id, number, image}, null: the newest
    #current = null; // the cell that the keyboard reaches
    #comparing;
    #tryIt;
    #graceUntil = 0;
    #changed = 0;
    #closing = new AbortController();
    #unfolding = null;
    #visible = false;
    #fold = null; // the text on the accordion's fold
    #closed = false;

    close() {
        if (this.#closed) {
            return;
        }
        this.#closed = true;
        this.#closing.abort();
        this.#unfolding.disconnect();
        this.#poller.close();
        this.#pictures.close();
        this.#full.close();
        this.#tryIt.close();
        this.#views.forEach(({ curve }) => curve.close());
        this.#root.replaceChildren();
    }

    // The page has changed: the host may have begun something without a click on Generate, or drawn the box anew.
    lookAround() {
        this.#fold = this.#root.closest(".input-accordion")?.querySelector(":scope > .label-wrap .diversity-state");
        this.#writeKey();
        this.#poller.resume(); // the accordion may have been opened, out of sight
        if (this.#keys.decided && this.#host.busy && this.#host.ticked && this.#poller.idle) {
            this.#graceUntil = performance.now() + GRACE_MS;
            this.#poller.wake();
        }
        this.#renderControls();
    }

    #writeKey() {
        if (!this.#keys.decided) {
            return;
        }
        const key = this.#keys.key(this.#host.name);
        if (!this.#host.page.startsWith(key)) {
            this.#host.page = key;
        }
    }

    #build() {
        const { make, makeText, KINDS } = this.#parts;
        const button = (name, title, clicked) =>
            (this.#controls[name] = makeText(
                "button",
                { type: "button", class: "diversity-dt-button", title, onclick: clicked },
                BUTTONS[name],
            ));
        const group = `diversity-dt-kind-${this.#host.name}`;
        this.#controls.kinds = Object.entries(KINDS).map(([kind, name]) => {
            const radio = make("input", { type: "radio", name: group, value: kind, checked: kind === this.#kind });
            radio.addEventListener("change", () => this.#chooseKind(kind));
            return { kind, radio, label: make("label", { class: "diversity-dt-kind" }, radio, name) };
        });
        const kinds = make("fieldset", { class: "diversity-dt-kinds" }, make("legend", {}, "Prediction shown"));
        kinds.append(...this.#controls.kinds.map(({ label }) => label));
        const buttons = make(
            "div",
            { class: "diversity-dt-buttons" },
            button("stop", "End the generation now and keep the frame shown large as the image", () => this.#stop()),
            button("follow", "Show the newest frame large as it comes", () => this.#follow()),
            button("save", "Write the strip as PNG and as animated WebP beside the image", () => this.#save()),
            button("compare", "Make the same seeds by base alone, distilled alone and hybrid", () =>
                this.#compare("compare"),
            ),
            button("cancel", "Interrupt the comparison", () => this.#host.interruptButton?.click()),
        );
        const why = `diversity-dt-why-${this.#host.name}`;
        this.#controls.why = makeText("span", { class: "diversity-dt-note diversity-dt-why", id: why, hidden: true });
        this.#controls.compare.setAttribute("aria-describedby", why);
        this.#controls.compare.after(this.#controls.why);
        this.#controls.status = makeText("p", { class: "diversity-dt-status", role: "status" }, this.#parts.HINT);
        this.#controls.done = makeText("p", { class: "diversity-dt-status", role: "status", hidden: true });
        this.#controls.trouble = makeText("p", { class: "diversity-dt-trouble", role: "alert", hidden: true });
        this.#controls.decoder = makeText("p", { class: "diversity-dt-note", hidden: true });
        this.#controls.strips = make("div", { class: "diversity-dt-strips" });
        this.#controls.charts = make("div", {});
        this.#controls.curves = make(
            "details",
            { class: "diversity-dt-curves", hidden: true, ontoggle: () => this.#drawCurves() },
            make("summary", {}, "Structure curve"),
            make("p", { class: "diversity-dt-legend" }, ...this.#legend()),
            this.#controls.charts,
        );
        const { status, done, trouble, decoder, strips, curves } = this.#controls;
        const head = make("div", { class: "diversity-dt-controls" }, kinds, buttons);
        const below = make("div", { class: "diversity-dt-below" }, this.#large.element, curves);
        this.#root.replaceChildren(head, status, done, trouble, decoder, strips, below, this.#full.element);
    }

    #legend() {
        const { makeSvg, make } = this.#parts;
        const sample = (phase) =>
            makeSvg(
                "svg",
                { viewBox: "0 0 34 10", class: "diversity-dt-sample", "aria-hidden": "true" },
                makeSvg("path", { class: "diversity-dt-line", "data-phase": phase, d: "M1 5 H33" }),
                makeSvg("circle", { class: "diversity-dt-dot", "data-phase": phase, cx: 17, cy: 5, r: 3.5 }),
            );
        return ["base", "distilled"].map((phase) => make("span", {}, sample(phase), ` ${phase}`));
    }

    #listen() {
        const { signal } = this.#closing;
        const { strips } = this.#controls;
        document.addEventListener("click", (event) => this.#clickedAnywhere(event), { capture: true, signal });
        document.addEventListener("input", ({ target }) => this.#host.isBox(target) && this.#renderControls(), { signal });
        document.addEventListener("visibilitychange", () => this.#poller.resume(), { signal });
        this.#keys.renewed.addEventListener("renewed", () => this.#forget(), { signal });
        // Not "pointerover": that also comes when a cell moves under a pointer that rests.
        strips.addEventListener("pointermove", (event) => this.#pin(event.target.closest("[role=gridcell]")));
        strips.addEventListener("focusin", (event) => this.#pin(event.target.closest("[role=gridcell]")));
        strips.addEventListener("click", (event) => event.target.closest("[role=gridcell]") && this.#open());
        strips.addEventListener("keydown", (event) => this.#pressed(event));
        // An IntersectionObserver would not hear of an accordion that is opened beyond the window's edge.
        this.#unfolding = new ResizeObserver(() => setTimeout(() => this.#unfolded()));
        this.#unfolding.observe(this.#root);
    }

    // It has got another size: it was shown or hidden, or strips came.
    #unfolded() {
        const visible = this.#root.getClientRects().length > 0;
        if (visible !== this.#visible && !this.#closed) {
            this.#visible = visible;
            this.#poller.resume();
            this.#drawCurves();
        }
    }

    // Before the host reads the page's values.
    #clickedAnywhere(event) {
        const button = this.#host.generateButton;
        if (!button || !event.target.closest || event.target.closest("button") !== button) {
            return;
        }
        this.#host.page = this.#comparing.pressed(this.#keys.key(this.#host.name));
        if (this.#host.ticked) {
            this.#keys.used = true;
            this.#graceUntil = performance.now() + GRACE_MS;
            this.#say("");
            this.#poller.wake();
        }
    }

    // Whether anybody could see what the server answers.
    #able() {
        if (!this.#root.isConnected) {
            this.close();
            return false;
        }
        return !document.hidden && this.#root.getClientRects().length > 0;
    }

    #answered(told) {
        this.#changed = performance.now();
        if (this.#strips.apply(told)) {
            this.#showOthers();
        }
        this.#render();
    }

    // Until the next question; null where there is nothing more to come.
    #pause() {
        const now = performance.now();
        const { busy } = this.#host;
        const waiting = busy || now < this.#graceUntil;
        const { running, compared } = this.#strips;
        this.#comparing.lasts &&= running !== null || busy || (waiting && !compared);
        this.#renderControls();
        this.#drawCurves();
        if (running) {
            return busy || now - this.#changed < STILL_AFTER_MS ? RUNNING_MS : STILL_MS;
        }
        return waiting ? (this.#comparing.lasts ? RUNNING_MS : WAITING_MS) : null;
    }

    #troubled(sentence) {
        this.#parts.sayIfAny(this.#controls.trouble, sentence);
        if (!sentence) {
            this.#pictures.retry();
        }
    }

    #forget() {
        this.#strips.forget();
        this.#showOthers();
        this.#writeKey();
        this.#render();
    }

    // Strips of generations that are not shown any more go, those that came are built.
    #showOthers() {
        const { Strip, Curve } = this.#parts;
        const ids = new Set(this.#strips.shown.map(({ id }) => id));
        for (const [id, { strip, curve }] of this.#views) {
            if (!ids.has(id)) {
                strip.element.remove();
                curve.close();
                curve.element.remove();
                this.#views.delete(id);
            }
        }
        for (const generation of this.#strips.shown) {
            if (!this.#views.has(generation.id)) {
                const strip = new Strip(generation, { elements: this.#parts, pictures: this.#pictures });
                const curve = new Curve(generation, { ...this.#parts, elements: this.#parts });
                this.#views.set(generation.id, { strip, curve });
                this.#controls.strips.append(strip.element);
                this.#controls.charts.append(curve.element);
            }
        }
        this.#pictures.forget();
        if (this.#pinned && !ids.has(this.#pinned.id)) {
            this.#pinned = null;
        }
        if (this.#current && !this.#current.isConnected) {
            this.#current = null;
        }
    }

    #render() {
        const { mark } = this.#parts;
        this.#views.forEach(({ strip }) => strip.update(this.#kind));
        mark(this.#controls.strips, "data-old", this.#strips.waiting ? "" : null);
        mark(this.#controls.strips, "data-compared", this.#views.size > 1 ? "" : null);
        this.#renderChosen();
        this.#renderControls();
        this.#drawCurves();
    }

    // {generation, frame, image} that is shown large: what was pointed at, else the newest.
    get #chosen() {
        const { shown, running } = this.#strips;
        if (this.#pinned) {
            const generation = shown.find(({ id }) => id === this.#pinned.id);
            const frame = generation?.frames.get(this.#pinned.number);
            if (frame) {
                return { generation, frame, image: this.#pinned.image };
            }
        }
        const withFrames = shown.filter(({ newest }) => newest !== null);
        const generation = running?.newest ? running : withFrames.at(-1);
        return generation ? { generation, frame: generation.newest, image: 0 } : null;
    }

    #renderChosen() {
        const { KINDS, mark } = this.#parts;
        const chosen = this.#chosen;
        this.#large.update(chosen, this.#kind, KINDS[this.#kind]);
        const cell = chosen ? this.#cellOf(chosen) : null;
        if (cell !== this.#current) {
            if (this.#current) {
                this.#current.tabIndex = -1;
                mark(this.#current, "aria-selected", null);
            }
            if (cell) {
                cell.tabIndex = 0;
                mark(cell, "aria-selected", "true");
            }
            this.#current = cell;
        }
        this.#views.forEach(({ curve }) => curve.choose(chosen ? chosen.image : -1));
        mark(this.#controls.follow, "aria-pressed", String(this.#pinned === null));
    }

    #cellOf({ generation, frame, image }) {
        return this.#views.get(generation.id)?.strip.cell(frame.number, image) || null;
    }

    #renderControls() {
        const { show, say, sayIfAny, mark } = this.#parts;
        const { generations, shown, running, gone } = this.#strips;
        const controls = this.#controls;
        const { busy } = this.#host;
        for (const { kind, radio } of controls.kinds) {
            const recorded = shown.some((generation) => generation.holds(kind));
            radio.disabled = !recorded && radio.value !== this.#kind && shown.length > 0;
            radio.parentNode.title = recorded || !shown.length ? "" : "Not recorded in this generation";
        }
        controls.stop.disabled = !running?.stoppable;
        controls.save.disabled = gone || !generations.length || generations.every((generation) => generation.running);
        const told = this.#host.told;
        const why = this.#comparing.whyNot(busy || running !== null, told);
        this.#tryIt.show(this.#comparing.trial(busy || running !== null, told));
        controls.compare.disabled = why !== "";
        sayIfAny(controls.why, why);
        show(controls.follow, generations.length > 0);
        show(controls.cancel, this.#comparing.lasts && (busy || running !== null));
        say(controls.status, this.#progress());
        if (this.#fold) {
            const said = this.#onFold();
            say(this.#fold, said);
            mark(this.#fold, "title", said || null); // a folder may be too long for the fold
        }
        const { decoder } = generations.at(-1) || {};
        sayIfAny(controls.decoder, decoder?.name ? `Pictures by ${decoder.name}. ${decoder.note}`.trim() : "");
        show(controls.curves, generations.length > 0);
    }

    #onFold() {
        const { ticked, busy, saves, told } = this.#host;
        const now = { ticked, busy, saves, folder: told.folder ?? "" };
        return this.#parts.foldOf(now, this.#strips.running, this.#progress());
    }

    #progress() {
        return this.#parts.progressOf(this.#strips, this.#comparing.lasts);
    }

    #drawCurves() {
        const wanted = this.#controls.curves.open && this.#controls.curves.getClientRects().length > 0;
        const sampling = this.#strips.running !== null || this.#comparing.lasts;
        this.#views.forEach(({ curve }) => curve.update(this.#kind, { wanted, sampling }));
    }

    #chooseKind(kind) {
        this.#kind = kind;
        this.#render();
    }

    #pin(cell) {
        if (!cell || (cell === this.#current && this.#pinned)) {
            return;
        }
        const view = Array.from(this.#views).find(([, { strip }]) => strip.element.contains(cell));
        if (view) {
            const { number, image } = cell.dataset;
            this.#pinned = { id: view[0], number: Number(number), image: Number(image) };
            this.#renderChosen();
        }
    }

    #follow() {
        this.#pinned = null;
        this.#renderChosen();
    }

    #pressed(event) {
        const cell = event.target.closest("[role=gridcell]");
        if (!cell || event.ctrlKey || event.metaKey || event.altKey) {
            return;
        }
        if (event.key === "Enter" || event.key === " ") {
            event.preventDefault();
            this.#open();
            return;
        }
        const next = this.#next(cell, event.key);
        if (next) {
            event.preventDefault();
            next.focus();
            next.scrollIntoView({ block: "nearest", inline: "nearest" });
        }
    }

    #next(cell, key) {
        return this.#parts.neighbour(
            Array.from(this.#views.values(), ({ strip }) => strip),
            cell,
            key,
        );
    }

    // For the dialog: moves on and tells what is chosen then.
    #move(key) {
        const next = this.#current && this.#next(this.#current, key);
        this.#pin(next);
        return next ? this.#chosen : null;
    }

    #open() {
        this.#full.open(this.#chosen, this.#kind, this.#parts.KINDS[this.#kind]);
    }

    #say(sentence) {
        this.#parts.sayIfAny(this.#controls.done, sentence);
    }

    async #stop() {
        const { running } = this.#strips;
        if (running) {
            const chosen = this.#pinned ? this.#chosen : null;
            const frame = chosen && chosen.generation === running ? chosen.frame : null;
            this.#say(await this.#server.stop(running, frame));
            this.#poller.wake();
        }
    }

    async #save() {
        this.#controls.save.disabled = true;
        this.#say("Saving.");
        const ended = this.#strips.generations.filter((generation) => !generation.running);
        this.#say(await this.#server.save(ended, this.#host.told.folder ?? ""));
        this.#renderControls();
    }

    #compare(word) {
        this.#comparing.begin(word);
        this.#renderControls();
    }
}
