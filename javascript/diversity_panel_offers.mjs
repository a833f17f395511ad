// Asks the server which files fit the checkpoint that the next image is made with: when the list of files opens and
// when the checkpoint changes, at most twice a second, and now and then while the server is still looking at files.

const ADDRESS = "./diversity-distillation/v1/choices?checkpoint=chosen";
const PAUSE = 500;
const LOOKING = 2000;

export class Offers {
    #poller;
    #key = null;
    #part = "auto";
    #pending = 0;
    #timer = null;
    #again = false;

    // answered(told) is called with each answer (api/offers.py). able: () -> whether anybody could see it.
    constructor({ Poller }, answered, able) {
        this.#poller = new Poller({
            request: () => ({ url: `${ADDRESS}&loaded_is=${this.#part}`, headers: {} }),
            answered: (told) => {
                this.#pending = told.pending;
                answered(told);
            },
            pause: () => (this.#pending > 0 ? LOOKING : null),
            able,
            trouble: () => {}, // without an answer the list is the host's own
            early: true,
        });
    }

    // What the list is for; asks when that is something else.
    want(key, part) {
        if (key !== this.#key) {
            this.#key = key;
            this.#part = part;
            this.ask();
        } else {
            this.#poller.resume();
        }
    }

    ask() {
        this.#again = this.#timer !== null;
        if (this.#again) {
            return;
        }
        this.#timer = setTimeout(() => {
            this.#timer = null;
            if (this.#again) {
                this.ask();
            }
        }, PAUSE);
        this.#poller.wake();
    }

    close() {
        this.#poller.close();
        clearTimeout(this.#timer);
    }
}
