// Asks another action for the time.
async function main() {
  const url = `${process.env.__OW_API_HOST}/api/v1/namespaces/whisk.system/actions/utils/date?blocking=true&result=true`;
  const answer = await fetch(url, {
    method: 'POST',
    headers: { Authorization: `Basic ${Buffer.from(process.env.__OW_API_KEY).toString('base64')}` },
  });
  const result = await answer.json();
  console.log(`It is now ${result.date}`);
  return result;
}
