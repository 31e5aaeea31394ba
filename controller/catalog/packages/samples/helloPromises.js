// Waits for what another action answers.
function main({ name, place }) {
  const url = `${process.env.__OW_API_HOST}/api/v1/namespaces/whisk.system/actions/samples/greeting?blocking=true&result=true`;
  return fetch(url, {
    method: 'POST',
    headers: {
      Authorization: `Basic ${Buffer.from(process.env.__OW_API_KEY).toString('base64')}`,
      'Content-Type': 'application/json',
    },
    body: JSON.stringify({ name, place }),
  })
    .then((answer) => answer.json())
    .then((result) => (result.error ? result : { lines: result.payload.split(' ') }));
}
