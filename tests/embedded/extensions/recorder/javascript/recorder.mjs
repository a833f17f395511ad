// A module of an extension: loaded as one, after every plain script.
export const loaded = true;
