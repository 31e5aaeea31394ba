// Takes some from the beginning.
function main({ lines = [], num }) {
  const wanted = num || 1;
  return { lines: lines.slice(0, wanted), num: wanted };
}
