// Starts Azurite's blob service and ends with whoever started it: standard input closes then, however that process ends.
process.stdin.resume();
process.stdin.on("end", () => process.exit(0));
process.stdin.on("error", () => process.exit(0));
require("azurite/dist/src/blob/main.js");
