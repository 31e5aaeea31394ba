// Joins lines, each with an end of its own.
const main = ({ lines = [] }) => ({ lines, payload: lines.map((line) => `${line}\n`).join('') });
