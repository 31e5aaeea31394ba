// Takes some lines from the beginning.
const main = ({ lines = [], num = 1 }) => ({ lines: lines.slice(0, num), num });
