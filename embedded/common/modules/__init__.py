"""What both flavours share. Never run: each flavour's own package `modules` lists this folder after its own."""
