// SPDX-License-Identifier: Apache-2.0

exports.hello = ({ greeting, name }) => {
    console.log('asked by', name);
    return name ? { text: `${greeting}, ${name}` } : { error: 'nobody asks' };
};

exports.shout = ({ text, mark }) => ({ text: text.toUpperCase() + mark });

exports.book = ({ __ow_method, __ow_path }) => ({ statusCode: __ow_method === 'put' ? 201 : 200, body: { id: __ow_path.split('/').pop() } });
