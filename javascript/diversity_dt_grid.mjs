// One generation's strip: a grid for each section, rows are images, columns are steps.
//
// Columns are built some at a time, hidden, and a frame that comes takes the next one: then only attributes change.

const MOST_AT_FIRST = 32;
const FURTHER = 8;

export class Strip {
    constructor(generation, { elements, pictures }) {
        this.generation = generation;
        this.#elements = elements;
        this.#pictures = pictures;
        const { make, makeText } = elements;
        this.#title = makeText("h4", { class: "diversity-dt-title", hidden: true });
        this.#state = makeText("p", { class: "diversity-dt-note", hidden: true });
        this.#missing = makeText("p", { class: "diversity-dt-missing", hidden: true });
        this.#scroll = make("div", { class: "diversity-dt-scroll" });
        this.element = make("section", { class: "diversity-dt-strip" });
        this.element.append(this.#title, this.#state, this.#missing, this.#scroll);
    }

    #elements;
    #pictures;
    #title;
    #state;
    #missing;
    #scroll;
    #sections = new Map(); // title -> Section, in their order
    #columns = new Map(); // frame's number -> {section, column}

    get sections() {
        return Array.from(this.#sections.values());
    }

    update(kind) {
        const { say, sayIfAny, mark, show } = this.#elements;
        const { generation } = this;
        sayIfAny(this.#title, generation.title);
        mark(this.element, "aria-label", generation.title || "Predicted images");
        mark(this.element, "data-state", generation.state);
        sayIfAny(this.#missing, generation.missing);
        say(this.#state, generation.left);
        show(this.#state, generation.left !== "");
        const begun = this.#columns.size > 0 || generation.running;
        const atEnd = this.#scroll.scrollLeft + this.#scroll.clientWidth >= this.#scroll.scrollWidth - 4;
        for (const [number, place] of this.#columns) {
            if (!generation.frames.has(number)) {
                place.section.drop(place.column);
                this.#columns.delete(number);
            }
        }
        for (const frame of generation.frames.values()) {
            if (!this.#columns.has(frame.number)) {
                const section = this.#section(frame);
                this.#columns.set(frame.number, { section, column: section.take(frame) });
            }
        }
        this.sections.forEach((section) => section.showPictures(generation, kind));
        if (atEnd && begun) {
            this.#scroll.scrollLeft = this.#scroll.scrollWidth;
        }
    }

    // The cell of a frame's image.
    cell(number, image) {
        const place = this.#columns.get(number);
        return place ? place.section.cell(place.column, image) : null;
    }

    #section(frame) {
        if (!this.#sections.has(frame.section)) {
            const section = new Section(frame, this.generation, this.#elements, this.#pictures);
            this.#sections.set(frame.section, section);
            this.#scroll.append(section.element);
        }
        return this.#sections.get(frame.section);
    }
}

class Section {
    constructor(frame, generation, elements, pictures) {
        this.images = frame.images;
        this.#elements = elements;
        this.#pictures = pictures;
        const { make, makeText } = elements;
        const names = [generation.title, frame.section].filter(Boolean);
        this.#head = make("div", { role: "row", class: "diversity-dt-row diversity-dt-head" });
        this.#head.append(makeText("span", { role: "columnheader", class: "diversity-dt-corner" }, "Image"));
        this.#rows = Array.from({ length: frame.images }, (_, image) =>
            make(
                "div",
                { role: "row", class: "diversity-dt-row" },
                makeText("span", { role: "rowheader", class: "diversity-dt-corner" }, String(image + 1)),
            ),
        );
        const grid = make("div", { role: "grid", "aria-label": `Predicted images, ${names.join(", ")}` });
        grid.append(this.#head, ...this.#rows);
        this.element = make("div", { class: "diversity-dt-section" });
        this.element.append(makeText("p", { class: "diversity-dt-section-title" }, frame.section), grid);
        this.#build(Math.min(Math.max(frame.steps, 1), MOST_AT_FIRST));
    }

    #elements;
    #pictures;
    #head;
    #rows;
    #columns = []; // {header, lines, cells, frame}
    #taken = 0;

    // Columns with a frame, from left to right.
    get shown() {
        return this.#columns.filter(({ frame }) => frame !== null);
    }

    take(frame) {
        if (this.#taken === this.#columns.length) {
            this.#build(FURTHER);
        }
        const column = this.#columns[this.#taken];
        this.#taken += 1;
        column.frame = frame;
        const { say, mark, show } = this.#elements;
        ["step", "noise", "sigma", "model"].forEach((name, line) => say(column.lines[line], frame.labels[name]));
        mark(column.lines[3], "title", frame.model);
        for (const element of [column.header, ...column.cells.map(({ cell }) => cell)]) {
            mark(element, "data-number", String(frame.number));
            mark(element, "data-phase", frame.phase);
            mark(element, "data-switched", frame.switched ? "" : null);
            show(element, true);
        }
        return column;
    }

    drop(column) {
        column.frame = null;
        for (const { cell, img } of column.cells) {
            this.#pictures.want(img, null, () => {});
            this.#elements.show(cell, false);
        }
        this.#elements.show(column.header, false);
    }

    cell(column, image) {
        return column.cells[image]?.cell || null;
    }

    showPictures(generation, kind) {
        const { mark, sayIfAny } = this.#elements;
        for (const { frame, cells } of this.shown) {
            const recorded = frame.kinds.includes(kind);
            cells.forEach(({ cell, img, note }, image) => {
                const words = [`Image ${image + 1}`, frame.labels.spoken, ...(recorded ? [] : ["not recorded"])];
                mark(cell, "aria-label", words.join(", "));
                const url = recorded ? generation.picture(frame, image, kind) : null;
                this.#pictures.want(img, url, (sentence) => sayIfAny(note, recorded ? sentence : "not recorded"));
            });
        }
    }

    #build(count) {
        const columns = Array.from({ length: count }, () => this.#column());
        this.#head.append(...columns.map(({ header }) => header));
        this.#rows.forEach((row, image) => row.append(...columns.map(({ cells }) => cells[image].cell)));
        this.#columns.push(...columns);
    }

    #column() {
        const { make, makeText } = this.#elements;
        const lines = ["step", "noise", "sigma", "model"].map((name) =>
            makeText("span", { class: `diversity-dt-${name}` }),
        );
        const header = make("div", { role: "columnheader", class: "diversity-dt-tag", hidden: true }, ...lines);
        header.append(make("span", { class: "diversity-dt-bar" }));
        const cells = Array.from({ length: this.images }, (_, image) => {
            const img = make("img", { alt: "", decoding: "async", draggable: "false" });
            const note = makeText("span", { class: "diversity-dt-cell-note", hidden: true });
            const given = { role: "gridcell", class: "diversity-dt-cell", tabindex: "-1", hidden: true };
            const cell = make("div", { ...given, "data-image": String(image) }, img, note);
            img.addEventListener("load", () => this.#shape(img));
            return { cell, img, note };
        });
        return { header, lines, cells, frame: null };
    }

    // All pictures of a section have one shape; the first one that comes tells it.
    #shape(img) {
        if (img.naturalHeight && !this.element.style.getPropertyValue("--dt-shape")) {
            this.element.style.setProperty("--dt-shape", `${img.naturalWidth} / ${img.naturalHeight}`);
        }
    }
}

// Where the arrow keys lead from a cell: through a section's steps and on into the next section, and through the images
// of all sections and strips.
export function neighbour(strips, at, key) {
    const sections = strips.flatMap((strip) => strip.sections);
    const holds = ({ cells }) => cells.some(({ cell }) => cell === at);
    const here = sections.findIndex((section) => section.shown.some(holds));
    if (here < 0) {
        return null;
    }
    const { shown, images } = sections[here];
    const column = shown.findIndex(holds);
    const image = shown[column].cells.findIndex(({ cell }) => cell === at);
    const inSection = (index, wantedColumn, wantedImage) => {
        const section = sections[index];
        const columns = section?.shown || [];
        const found = columns.at(Math.min(wantedColumn, columns.length - 1));
        return found ? found.cells.at(Math.min(wantedImage, section.images - 1)).cell : null;
    };
    switch (key) {
        case "ArrowRight":
            return column + 1 < shown.length ? inSection(here, column + 1, image) : inSection(here + 1, 0, image);
        case "ArrowLeft":
            return column > 0 ? inSection(here, column - 1, image) : inSection(here - 1, Infinity, image);
        case "ArrowDown":
            return image + 1 < images ? inSection(here, column, image + 1) : inSection(here + 1, column, 0);
        case "ArrowUp":
            return image > 0 ? inSection(here, column, image - 1) : inSection(here - 1, column, Infinity);
        case "Home":
            return inSection(here, 0, image);
        case "End":
            return inSection(here, Infinity, image);
        default:
            return null;
    }
}
