// A libnvidia-ml.so.1 with cards that are not there: the same entry points, types
// and return codes as NVIDIA's nvml.h, so that the real binding loads it as it
// loads the real one. Built by the tests, with -D for each machine.
#include <stdio.h>
#include <string.h>

typedef int ret;
typedef struct card { int index, slice; } *device;
enum { OK = 0, BAD = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, NO_DRIVER = 9, LOST = 15 };

#ifndef CARDS
#define CARDS 1
#endif
#ifndef INIT
#define INIT OK
#endif
#ifndef SLICES
#define SLICES 0
#endif
#ifndef NVLINKS
#define NVLINKS 0
#endif

static struct card cards[CARDS], slices[CARDS][7];

ret nvmlInit_v2(void) { return INIT; }
ret nvmlShutdown(void) { return OK; }
const char *nvmlErrorString(ret r) {
	switch (r) {
	case NO_DRIVER: return "Driver Not Loaded";
	case LOST: return "GPU is lost";
	}
	return "Unknown Error";
}
ret nvmlSystemGetDriverVersion(char *v, unsigned n) { snprintf(v, n, "550.54.15"); return OK; }
ret nvmlSystemGetCudaDriverVersion(int *v) { *v = 12040; return OK; }
ret nvmlDeviceGetCount_v2(unsigned *n) { *n = CARDS; return OK; }
ret nvmlDeviceGetHandleByIndex_v2(unsigned i, device *d) {
	if (i >= CARDS) return BAD;
	cards[i].index = i, cards[i].slice = -1;
	*d = &cards[i];
	return OK;
}
ret nvmlDeviceGetName(device d, char *s, unsigned n) {
#ifdef LOSES
	if (d->index == LOSES) return LOST;
#endif
	snprintf(s, n, d->slice < 0 ? "%s" : "%s MIG 1g.10gb", MODEL);
	return OK;
}
ret nvmlDeviceGetUUID(device d, char *s, unsigned n) {
	if (d->slice < 0) snprintf(s, n, "GPU-%08d", d->index);
	else snprintf(s, n, "MIG-%08d-%d", d->index, d->slice);
	return OK;
}
ret nvmlDeviceGetMemoryInfo(device d, unsigned long long *m) {
	m[0] = d->slice < 0 ? MEMORY : MEMORY / 8, m[1] = m[0], m[2] = 0;
	return OK;
}
#ifndef BUSY
#define BUSY 0
#endif
ret nvmlDeviceGetUtilizationRates(device d, unsigned *use) {
	if (d->index == 0) return NOT_SUPPORTED; // as some cards answer
	use[0] = BUSY / d->index, use[1] = 0;
	return OK;
}
#ifndef OLD
ret nvmlDeviceGetPciInfo_v3(device d, void *out) {
	struct { char legacy[16]; unsigned domain, bus, device, id, subsystem; char bus_id[32]; } pci;
	memset(&pci, 0, sizeof pci);
	snprintf(pci.bus_id, sizeof pci.bus_id, "00000000:%02X:00.0", d->index + 1);
	memcpy(out, &pci, sizeof pci);
	return OK;
}
ret nvmlDeviceGetCudaComputeCapability(device d, int *major, int *minor) { *major = MAJOR, *minor = MINOR; return OK; }
ret nvmlDeviceGetMaxPcieLinkGeneration(device d, unsigned *g) { *g = 5; return OK; }
ret nvmlDeviceGetCurrPcieLinkWidth(device d, unsigned *w) { *w = 16; return OK; }
ret nvmlDeviceGetNvLinkState(device d, unsigned link, int *on) { *on = 1; return link < NVLINKS ? OK : BAD; }
ret nvmlDeviceGetMigMode(device d, unsigned *now, unsigned *next) {
	if (!SLICES) return NOT_SUPPORTED;
	*now = *next = d->index == 0; // the first card is cut, the others are not
	return OK;
}
ret nvmlDeviceGetMaxMigDeviceCount(device d, unsigned *n) { *n = 7; return OK; }
ret nvmlDeviceGetMigDeviceHandleByIndex(device d, unsigned i, device *out) {
	if (i >= SLICES) return NOT_FOUND;
	slices[d->index][i].index = d->index, slices[d->index][i].slice = i;
	*out = &slices[d->index][i];
	return OK;
}
#endif
