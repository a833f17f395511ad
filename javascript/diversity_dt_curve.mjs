// The structure curve: how far each frame is from the last one, over the schedule, one line for each image.
//
// It needs a picture of every frame, so it is asked for when it is unfolded and nothing runs any more: beside sampling
// nothing is decoded for it.

const WIDEST = 680;
const NARROWEST = 280;
const HEIGHT = 220;
const NAME_HEIGHT = 13;
const LEFT = 48;
const RIGHT = 16;
const TOP = 12;
const BOTTOM = 40;
const PAUSE_MS = 1000;
const MEASURES = { lpips: "LPIPS", dreamsim: "DreamSim", structural: "structural distance (built in)" };

export class Curve {
    constructor(generation, { elements, comesLater, retryAfter, sentenceOf, waited }) {
        this.generation = generation;
        this.#elements = elements;
        this.#comesLater = comesLater;
        this.#retryAfter = retryAfter;
        this.#sentenceOf = sentenceOf;
        this.#waited = waited;
        const { make, makeText } = elements;
        this.#note = makeText("p", { class: "diversity-dt-note", role: "status" });
        this.#charts = make("div");
        this.element = make("div", { class: "diversity-dt-curve" }, this.#note, this.#charts);
    }

    #elements;
    #comesLater;
    #retryAfter;
    #sentenceOf;
    #waited;
    #note;
    #charts;
    #drawn = "";
    #abort = null;
    #lines = []; // {image, elements}

    // Draws it once for each kind. sampling: whether the host is at work, for this generation or another one.
    update(kind, { wanted, sampling }) {
        const { generation } = this;
        if (!wanted || generation.state === "gone" || this.#drawn === kind) {
            return;
        }
        if (sampling || generation.frames.size < 2) {
            const why = sampling ? "is drawn when the generation has ended" : "needs two frames";
            this.#elements.say(this.#note, `The curve${this.#ofWhat()} ${why}.`);
            return;
        }
        this.#drawn = kind;
        this.#abort?.abort();
        this.#abort = new AbortController();
        this.#fetch(kind, this.#abort.signal);
    }

    // Makes one image's line stand out.
    choose(image) {
        for (const line of this.#lines) {
            const chosen = line.image === image ? "" : null;
            line.elements.forEach((element) => this.#elements.mark(element, "data-chosen", chosen));
        }
    }

    close() {
        this.#abort?.abort();
    }

    #ofWhat() {
        return this.generation.title ? ` of “${this.generation.title}”` : "";
    }

    async #fetch(kind, signal) {
        const { say } = this.#elements;
        const url = `./diversity-distillation/v1/dt/${this.generation.id}/curve?kind=${kind}`;
        try {
            while (!signal.aborted && this.element.isConnected) {
                const answer = await fetch(url, { signal, cache: "no-store" });
                if (answer.status === 200) {
                    const told = await answer.json();
                    this.#draw(told);
                    return;
                }
                say(this.#note, await this.#sentenceOf(answer));
                if (!this.#comesLater(answer)) {
                    return;
                }
                await this.#waited(this.#retryAfter(answer, PAUSE_MS), signal);
            }
        } catch {
            if (!signal.aborted) {
                this.#drawn = "";
                say(this.#note, "The server does not answer; there is no curve.");
            }
        }
    }

    #draw({ sections, measure, note }) {
        const { make, makeText, say } = this.#elements;
        const name = MEASURES[measure] || measure;
        say(this.#note, [`Distance of each frame to the last one: ${name}.`, note].filter(Boolean).join(" "));
        this.#lines = [];
        const most = Math.max(0, ...sections.flatMap(({ lines }) => lines.flat())) || 1;
        const charts = sections.map((section) => {
            const title = [this.generation.title, section.title].filter(Boolean).join(", ");
            const chart = this.#chart(section, most, name, title);
            return make("div", {}, makeText("p", { class: "diversity-dt-section-title" }, title), chart);
        });
        this.#charts.replaceChildren(...charts);
    }

    #chart({ title, frames, lines }, most, name, heading) {
        const { makeSvg } = this.#elements;
        const points = frames.map((number) => this.generation.frames.get(number));
        const timesteps = points.map((frame, index) => frame?.timestep ?? 1000 * (1 - index / frames.length));
        const first = Math.max(...timesteps, 1);
        // As wide as its place is now, so that letters keep their size.
        const width = Math.min(WIDEST, Math.max(NARROWEST, this.element.clientWidth));
        const x = (timestep) => LEFT + (1 - timestep / first) * (width - LEFT - RIGHT);
        const y = (distance) => TOP + (1 - distance / most) * (HEIGHT - TOP - BOTTOM);
        const text = (words, attributes) => makeSvg("text", attributes, document.createTextNode(words));
        const fixed = lines.map(
            (line, image) => `image ${image + 1} is half way at timestep ${halfWay(line, timesteps)}`,
        );
        const chart = makeSvg("svg", {
            viewBox: `0 0 ${width} ${HEIGHT}`,
            role: "img",
            "aria-label": `Structure curve, ${heading || title}, ${name}: ${fixed.join("; ")}.`,
            class: "diversity-dt-chart",
        });
        chart.append(
            makeSvg("path", {
                class: "diversity-dt-axis",
                d: `M${LEFT} ${TOP} V${HEIGHT - BOTTOM} H${width - RIGHT}`,
            }),
            text("timestep", { x: (LEFT + width - RIGHT) / 2, y: HEIGHT - 4, "text-anchor": "middle" }),
            text(number(most), { x: LEFT - 6, y: TOP + 10, "text-anchor": "end" }),
            text("0", { x: LEFT - 6, y: HEIGHT - BOTTOM, "text-anchor": "end" }),
            ...ticks(timesteps, x).map((at) =>
                text(at.toFixed(0), { x: x(at), y: HEIGHT - BOTTOM + 16, "text-anchor": "middle" }),
            ),
        );
        points.forEach((frame, index) => {
            if (frame?.switched) {
                const at = x(timesteps[index]);
                const d = `M${at} ${TOP} V${HEIGHT - BOTTOM}`;
                chart.append(makeSvg("path", { class: "diversity-dt-switch", d }));
                chart.append(text("switch", { x: at + 4, y: TOP + 10 }));
            }
        });
        const names = spread(lines.map((line) => y(line[0])));
        lines.forEach((line, image) =>
            chart.append(...this.#line(line, image, { points, timesteps, x, y, name: names[image] })),
        );
        return chart;
    }

    // A piece from each frame to the next, in the look of the model that made the earlier one: so the base's part
    // reaches to the mark of the switch.
    #line(line, image, { points, timesteps, x, y, name: height }) {
        const { makeSvg } = this.#elements;
        const pieces = line.slice(1).map((distance, index) =>
            makeSvg("path", {
                class: "diversity-dt-line",
                "data-phase": points[index]?.phase ?? "",
                d: `M${x(timesteps[index])} ${y(line[index])} L${x(timesteps[index + 1])} ${y(distance)}`,
            }),
        );
        const dots = line.map((distance, index) =>
            makeSvg("circle", {
                class: "diversity-dt-dot",
                "data-phase": points[index]?.phase ?? "",
                cx: x(timesteps[index]),
                cy: y(distance),
                r: 3.5,
            }),
        );
        const name = makeSvg(
            "text",
            { x: x(timesteps[0]) + 8, y: height, class: "diversity-dt-line-name" },
            document.createTextNode(String(image + 1)),
        );
        this.#lines.push({ image, elements: [...pieces, ...dots, name] });
        return [...pieces, ...dots, name];
    }
}

function number(value) {
    return String(Number(value.toPrecision(2)));
}

// The first timestep at which at most half of the way to the final image is left.
function halfWay(line, timesteps) {
    const index = line.findIndex((distance) => distance <= line[0] / 2);
    return index < 0 ? "unknown" : timesteps[index].toFixed(0);
}

// As many of the frames' timesteps as can stand beside one another.
function ticks(timesteps, x) {
    const chosen = [];
    for (const timestep of timesteps) {
        if (!chosen.length || x(timestep) - x(chosen.at(-1)) >= 36) {
            chosen.push(timestep);
        }
    }
    return chosen;
}

// Where names stand beside their lines' beginnings: as near as they can without covering one another.
function spread(heights) {
    const order = heights.map((_, index) => index).sort((one, other) => heights[one] - heights[other]);
    const placed = [];
    let least = TOP;
    for (const index of order) {
        placed[index] = Math.max(heights[index] + 4, least);
        least = placed[index] + NAME_HEIGHT;
    }
    return placed;
}
