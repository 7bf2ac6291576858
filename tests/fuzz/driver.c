/* Runs one target over many inputs: those of its corpus, then mutations of them for a time or a number of runs.
 *
 *     rtp --corpus DIR --runs 100000 --seed 1      the same inputs each time
 *     rtp --corpus DIR --seconds 60 --keep DIR     progress each second; inputs that found new code are kept in DIR
 *     rtp --corpus DIR --keep DIR                  the part of a corpus that is needed to reach each place
 *     rtp FILE...                                  these inputs alone
 *
 * A target is a file that defines LLVMFuzzerTestOneInput, so libFuzzer can run it too. It is compiled with
 * -fsanitize-coverage=trace-pc,trace-cmp, this file without: an input that takes a new way, or one more often, is kept
 * and mutated further, and operands of comparisons that failed are put into the input where the other operand stands.
 * When the target dies, its input is written to crash-TARGET-NUMBER in the working folder. */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__asan_default_options(void);
const char *__ubsan_default_options(void);

enum { INPUT_MAX = 4096, CORPUS_MAX = 4096, COVERED = 1 << 16, PAIRS = 256 };

struct input {
    uint8_t *data;
    uint32_t size;
};
struct pair { /* the operands of a comparison */
    uint64_t left, right;
};

static struct input corpus[CORPUS_MAX];
static uint32_t corpus_count;
static uint8_t covered[COVERED]; /* by place: how often an input has been there, a bit per magnitude */
static uint32_t covered_count;
static uint8_t hits[COVERED]; /* of the run under way */
static uint32_t hit[COVERED], hit_count;
static int places_only; /* how often does not count */
static uintptr_t before; /* the code that was reached last */
static struct pair pairs[PAIRS];
static uint32_t pair_count;
static uint64_t random_state;
static const uint8_t *running; /* the input under way */
static uint32_t running_size;
static char crash_name[256];

const char *__asan_default_options(void) { return "abort_on_error=1:detect_leaks=1:allocator_may_return_null=1"; }
const char *__ubsan_default_options(void) { return "abort_on_error=1:print_stacktrace=1"; }

/* what the compiler calls from the target */
void __sanitizer_cov_trace_pc(void);
void __sanitizer_cov_trace_pc(void) {
    uintptr_t here = (uintptr_t)__builtin_return_address(0);
    uint32_t i = (uint32_t)(((here ^ (before << 3)) * 0x9e3779b97f4a7c15ULL) >> 48) % COVERED;
    before = here;
    if (hits[i] == 0) hit[hit_count++] = i;
    if (hits[i] < 255) hits[i]++;
}

static void compared(uint64_t left, uint64_t right) {
    if (left != right) pairs[pair_count++ % PAIRS] = (struct pair){left, right};
}

#define COMPARED(name, type)            \
    void name(type left, type right);   \
    void name(type left, type right) { compared((uint64_t)left, (uint64_t)right); }
COMPARED(__sanitizer_cov_trace_cmp1, uint8_t)
COMPARED(__sanitizer_cov_trace_cmp2, uint16_t)
COMPARED(__sanitizer_cov_trace_cmp4, uint32_t)
COMPARED(__sanitizer_cov_trace_cmp8, uint64_t)
COMPARED(__sanitizer_cov_trace_const_cmp1, uint8_t)
COMPARED(__sanitizer_cov_trace_const_cmp2, uint16_t)
COMPARED(__sanitizer_cov_trace_const_cmp4, uint32_t)
COMPARED(__sanitizer_cov_trace_const_cmp8, uint64_t)
void __sanitizer_cov_trace_cmpf(float left, float right);
void __sanitizer_cov_trace_cmpf(float left, float right) { (void)left, (void)right; } /* not found in any input */
void __sanitizer_cov_trace_cmpd(double left, double right);
void __sanitizer_cov_trace_cmpd(double left, double right) { (void)left, (void)right; }
void __sanitizer_cov_trace_switch(uint64_t value, uint64_t *cases);
void __sanitizer_cov_trace_switch(uint64_t value, uint64_t *cases) {
    for (uint64_t i = 0; i < cases[0] && i < 16; i++) compared(value, cases[2 + i]);
}

static void died(int signal_number) {
    int fd = open(crash_name, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd >= 0 && running && write(fd, running, running_size) == (ssize_t)running_size) {
        const char text[] = "\nThe input that did it is in ";
        if (write(2, text, sizeof text - 1) < 0 || write(2, crash_name, strlen(crash_name)) < 0 || write(2, "\n", 1) < 0)
            _exit(1);
    }
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

static void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(2);
}

static uint64_t draw(void) { /* splitmix64 */
    uint64_t x = random_state += 0x9e3779b97f4a7c15ULL;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
    return x ^ (x >> 31);
}

static uint32_t below(uint32_t n) { return n ? (uint32_t)(draw() % n) : 0; }

/* 1, 2, 3, 4 to 7, 8 to 15, 16 to 31, 32 to 127, more */
static uint8_t magnitude(uint8_t n) {
    static const uint8_t lowest[] = {2, 3, 4, 8, 16, 32, 128};
    uint8_t bit = 1;
    for (uint32_t i = 0; i < sizeof lowest && n >= lowest[i]; i++) bit = (uint8_t)(bit << 1);
    return bit;
}

/* Run once, in memory of exactly its size so that a read past the end is seen. 1 when it was anywhere new. */
static int run(const uint8_t *data, uint32_t size) {
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy) fail("no memory");
    if (size) memcpy(copy, data, size);
    running = data;
    running_size = size;
    before = 0;
    hit_count = 0;
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
    int news = 0;
    for (uint32_t i = 0; i < hit_count; i++) {
        uint8_t bit = places_only ? 1 : magnitude(hits[hit[i]]);
        hits[hit[i]] = 0;
        if (covered[hit[i]] & bit) continue;
        covered_count += covered[hit[i]] == 0;
        covered[hit[i]] |= bit;
        news = 1;
    }
    return news;
}

static void keep(const uint8_t *data, uint32_t size, const char *folder) {
    if (corpus_count == CORPUS_MAX) return;
    struct input *input = &corpus[corpus_count++];
    input->data = malloc(size ? size : 1);
    if (!input->data) fail("no memory");
    if (size) memcpy(input->data, data, size);
    input->size = size;
    if (!folder) return;
    uint64_t sum = 0xcbf29ce484222325ULL;
    for (uint32_t i = 0; i < size; i++) sum = (sum ^ data[i]) * 0x100000001b3ULL;
    char name[512];
    snprintf(name, sizeof name, "%s/%016llx", folder, (unsigned long long)sum);
    FILE *file = fopen(name, "wb");
    if (!file || fwrite(data, 1, size, file) != size || fclose(file)) fail("%s: can't be written", name);
}

static uint32_t read_input(const char *name, uint8_t *data) {
    FILE *file = fopen(name, "rb");
    if (!file) fail("%s: can't be read", name);
    uint32_t size = (uint32_t)fread(data, 1, INPUT_MAX, file);
    fclose(file);
    return size;
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static void read_corpus(const char *folder, const char *save) {
    char *names[CORPUS_MAX];
    uint32_t count = 0;
    DIR *dir = opendir(folder);
    if (!dir) fail("%s: no folder", folder);
    for (struct dirent *entry; (entry = readdir(dir)) && count < CORPUS_MAX;)
        if (entry->d_name[0] != '.') names[count++] = strdup(entry->d_name);
    closedir(dir);
    qsort(names, count, sizeof *names, by_name);
    for (uint32_t i = 0; i < count; i++) {
        uint8_t data[INPUT_MAX];
        char name[512];
        snprintf(name, sizeof name, "%s/%s", folder, names[i]);
        uint32_t size = read_input(name, data);
        if (run(data, size)) keep(data, size, save && strcmp(save, folder) != 0 ? save : NULL);
        free(names[i]);
    }
}

/* Put the other operand of a comparison where the first one stands, in either byte order. */
static void mutate_compared(uint8_t *data, uint32_t size) {
    uint32_t known = pair_count < PAIRS ? pair_count : PAIRS;
    if (!known || !size) return;
    struct pair p = pairs[below(known)];
    if (draw() & 1) p = (struct pair){p.right, p.left};
    uint64_t value = p.right + (draw() % 8 ? 0 : (draw() & 1 ? 1 : (uint64_t)-1));
    uint32_t width = p.left > 0xffff || p.right > 0xffff ? 4 : p.left > 0xff || p.right > 0xff ? 2 : 1;
    if (size < width) return;
    int big = (int)(draw() & 1);
    uint8_t wanted[4], other[4];
    for (uint32_t i = 0; i < width; i++) {
        uint32_t shift = 8 * (big ? width - 1 - i : i);
        wanted[i] = (uint8_t)(p.left >> shift);
        other[i] = (uint8_t)(value >> shift);
    }
    uint32_t start = below(size - width + 1);
    for (uint32_t i = 0; i <= size - width; i++) {
        uint32_t at = (start + i) % (size - width + 1);
        if (memcmp(data + at, wanted, width) == 0) {
            memcpy(data + at, other, width);
            return;
        }
    }
    memcpy(data + start, other, width);
}

static uint32_t mutate(uint8_t *data, uint32_t size) {
    static const uint8_t edges[] = {0, 1, 2, 0x0f, 0x10, 0x7f, 0x80, 0x8f, 0xbe, 0xde, 0xf0, 0xfe, 0xff};
    for (uint32_t rounds = 1 + below(5); rounds-- > 0;) {
        uint32_t at = below(size), length = 1 + below(size - at < 32 ? size - at : 32);
        switch (below(10)) {
            case 0:
                if (size) data[at] ^= (uint8_t)(1u << below(8));
                break;
            case 1:
                if (size) data[at] = (uint8_t)draw();
                break;
            case 2:
                if (size) data[at] = edges[below(sizeof edges)];
                break;
            case 3:
                if (size) data[at] = (uint8_t)(data[at] + below(17) - 8);
                break;
            case 4: /* take some out */
                if (!size) break;
                memmove(data + at, data + at + length, size - at - length);
                size -= length;
                break;
            case 5: /* put some in */
                if (size + length > INPUT_MAX) break;
                memmove(data + at + length, data + at, size - at);
                for (uint32_t i = 0; i < length; i++) data[at + i] = (uint8_t)draw();
                size += length;
                break;
            case 6: /* copy some over others */
                if (size) memmove(data + below(size - length + 1), data + at, length);
                break;
            case 7: { /* the end of another input */
                const struct input *other = &corpus[below(corpus_count)];
                uint32_t from = below(other->size), count = other->size - from;
                if (count > INPUT_MAX - at) count = INPUT_MAX - at;
                memcpy(data + at, other->data + from, count);
                if (at + count > size || draw() % 2) size = at + count;
                break;
            }
            case 8:
                if (size) size = 1 + at;
                break;
            default: mutate_compared(data, size);
        }
    }
    return size;
}

static double monotonic_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

int main(int argc, char **argv) {
    const char *folder = NULL, *save = NULL, *name = strrchr(argv[0], '/');
    name = name ? name + 1 : argv[0];
    double seconds = 0;
    uint64_t runs = 0, seed = 1, done = 0;
    int i = 1;
    for (; i < argc && argv[i][0] == '-'; i += 2) {
        if (i + 1 == argc) fail("%s: a value is missing", argv[i]);
        if (!strcmp(argv[i], "--corpus")) folder = argv[i + 1];
        else if (!strcmp(argv[i], "--keep")) save = argv[i + 1];
        else if (!strcmp(argv[i], "--seconds")) seconds = atof(argv[i + 1]);
        else if (!strcmp(argv[i], "--runs")) runs = strtoull(argv[i + 1], NULL, 10);
        else if (!strcmp(argv[i], "--seed")) seed = strtoull(argv[i + 1], NULL, 10);
        else fail("%s: not an option; see the top of driver.c", argv[i]);
    }
    snprintf(crash_name, sizeof crash_name, "crash-%s-%llu", name, (unsigned long long)seed);
    signal(SIGABRT, died);
    random_state = seed;
    uint8_t data[INPUT_MAX];
    for (; i < argc; i++) {
        uint32_t size = read_input(argv[i], data);
        run(data, size);
        done++;
    }
    places_only = seconds <= 0 && runs == 0;
    if (folder) read_corpus(folder, save);
    if (!corpus_count) keep((const uint8_t *)"", 0, NULL);
    double start = monotonic_s(), told = start;
    for (uint64_t n = 0; (seconds > 0 || n < runs); n++) {
        const struct input *input = &corpus[below(corpus_count)];
        memcpy(data, input->data, input->size);
        uint32_t size = mutate(data, input->size);
        if (run(data, size)) keep(data, size, save);
        done++;
        if (n % 256) continue;
        double now = monotonic_s();
        if (seconds > 0 && now - start >= seconds) break;
        if (now - told >= 1) {
            fprintf(stderr, "\r%-8s %4.0f s  %llu runs  %u places  %u inputs ", name, now - start,
                    (unsigned long long)done, covered_count, corpus_count);
            told = now;
        }
    }
    running = NULL;
    fprintf(stderr, "%s%-8s %llu runs, %u places reached, %u inputs kept\n", told > start ? "\r" : "", name,
            (unsigned long long)done, covered_count, corpus_count);
    for (uint32_t k = 0; k < corpus_count; k++) free(corpus[k].data);
    return 0;
}
