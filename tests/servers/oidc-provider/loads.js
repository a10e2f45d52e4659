// Fails when the package in INSTALLED or one of its dependencies cannot be loaded.

import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const require = createRequire(`${process.env.INSTALLED}/`);
await import(pathToFileURL(require.resolve('oidc-provider')));
