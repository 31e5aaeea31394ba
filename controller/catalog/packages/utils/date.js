// Tells the time.
function main() {
  const date = new Date();
  console.log(`It is ${date}`);
  return { date };
}
