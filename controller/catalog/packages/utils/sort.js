// Sorts in the order of texts.
function main({ lines = [] }) {
  const sorted = [...lines].sort();
  return { lines: sorted, length: sorted.length };
}
