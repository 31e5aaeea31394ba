// Shows what it gets, in the order of the names.
function main(params) {
  const sorted = Object.fromEntries(Object.entries(params).sort(([a], [b]) => (a < b ? -1 : 1)));
  for (const [name, value] of Object.entries(sorted)) {
    console.log(`params.${name}:`, value);
  }
  return { params: sorted };
}
