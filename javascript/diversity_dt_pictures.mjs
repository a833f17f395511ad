// Pictures are fetched when they come into view, a few at a time, each once: the browser keeps them by their address.

const AT_ONCE = 3;
const MARGIN = "100px";
const PAUSE_MS = 1000;
const TRIES = 10;

export class Pictures {
    constructor({ comesLater, retryAfter, sentenceOf }) {
        this.#comesLater = comesLater;
        this.#retryAfter = retryAfter;
        this.#sentenceOf = sentenceOf;
        this.#watch = new IntersectionObserver((entries) => this.#moved(entries), { rootMargin: MARGIN });
    }

    #comesLater;
    #retryAfter;
    #sentenceOf;
    #watch;
    #wanted = new Map(); // img -> {url, told, inView, tries, failed, dropped}
    #queue = new Set();
    #loading = 0;
    #timers = new Set();

    // Shows `url` in `img` once it is in view, nothing for null. told(sentence) says why a picture is not there, "" if
    // it is.
    want(img, url, told) {
        const before = this.#wanted.get(img);
        if (before?.url === url) {
            return;
        }
        this.#queue.delete(img);
        before?.dropped();
        if (url === null) {
            this.#take(img);
        } else if (img.hasAttribute("src")) {
            img.setAttribute("data-old", ""); // better than nothing until the other one is there
        }
        const request = { url, told, inView: before?.inView || false, tries: 0, failed: false, asked: false, dropped() {} };
        this.#wanted.set(img, request);
        told("");
        if (!before) {
            this.#watch.observe(img);
        }
        this.#line(img, request);
    }

    // What could not be fetched because the server was away is asked for again.
    retry() {
        for (const [img, request] of this.#wanted) {
            if (request.failed) {
                request.failed = false;
                request.tries = 0;
                this.#line(img, request);
            }
        }
    }

    // Elements that are not on the page any more.
    forget() {
        for (const img of this.#wanted.keys()) {
            if (!img.isConnected) {
                this.#wanted.get(img).dropped();
                this.#watch.unobserve(img);
                this.#wanted.delete(img);
                this.#queue.delete(img);
            }
        }
    }

    close() {
        this.#watch.disconnect();
        this.#wanted.clear();
        this.#queue.clear();
        this.#timers.forEach(clearTimeout);
        this.#timers.clear();
    }

    #moved(entries) {
        for (const { target, isIntersecting } of entries) {
            const request = this.#wanted.get(target);
            if (request) {
                request.inView = isIntersecting;
                this.#line(target, request);
            }
        }
    }

    #line(img, request) {
        if (request.url && request.inView && !request.failed && !request.asked) {
            this.#queue.add(img);
        } else {
            this.#queue.delete(img);
        }
        this.#next();
    }

    #next() {
        while (this.#loading < AT_ONCE && this.#queue.size) {
            const [img] = this.#queue;
            this.#queue.delete(img);
            this.#load(img, this.#wanted.get(img));
        }
    }

    #load(img, request) {
        this.#loading += 1;
        let over = false;
        const ended = async (good) => {
            if (over) {
                return;
            }
            over = true;
            img.removeEventListener("load", loaded);
            img.removeEventListener("error", failed);
            this.#loading -= 1;
            if (!good && this.#wanted.get(img) === request) {
                await this.#ask(img, request);
            }
            this.#next();
        };
        const loaded = () => {
            img.removeAttribute("data-old");
            ended(true);
        };
        const failed = () => ended(false);
        request.dropped = () => ended(true);
        img.addEventListener("load", loaded);
        img.addEventListener("error", failed);
        request.asked = true;
        img.src = request.url;
    }

    #take(img) {
        img.removeAttribute("src");
        img.removeAttribute("data-old");
    }

    // An element does not say why its picture did not come; the server does.
    async #ask(img, request) {
        this.#take(img);
        Object.assign(request, { failed: true, asked: false });
        request.tries += 1;
        try {
            const answer = await fetch(request.url, { cache: "no-store" });
            if ((answer.ok || this.#comesLater(answer)) && request.tries < TRIES) {
                this.#later(img, request, this.#retryAfter(answer, PAUSE_MS));
            } else {
                request.told(answer.ok ? "This is no picture." : await this.#sentenceOf(answer));
            }
        } catch {
            request.told("The server does not answer.");
        }
    }

    #later(img, request, pause) {
        const timer = setTimeout(() => {
            this.#timers.delete(timer);
            request.failed = false;
            if (this.#wanted.get(img) === request && img.isConnected) {
                this.#line(img, request);
            }
        }, pause);
        this.#timers.add(timer);
    }
}
