// Fails where the package in INSTALLED, or one of those that it needs, cannot be loaded.

import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const require = createRequire(`${process.env.INSTALLED}/`);
await import(pathToFileURL(require.resolve('oidc-provider')));
