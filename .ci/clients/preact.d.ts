// The types of the console's preact.js, which is htm/preact/standalone.
export * from 'preact';
export * from 'preact/hooks';
export function html(strings: TemplateStringsArray, ...values: any[]): any;
