// What esbuild bundles: partytracks as npm has it, and the parts of rxjs that the page feeds it with.
export { PartyTracks } from "partytracks/client";
export { BehaviorSubject, of } from "rxjs";
