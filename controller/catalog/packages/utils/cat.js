// Joins lines, and shows them, too.
function main({ lines = [] }) {
  const payload = lines.join('\n');
  console.log(payload);
  return { lines, payload };
}
