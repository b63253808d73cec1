#include "map_colours.h"

#include <math.h>

static const MoePalette light = {
    .back = 0xffffffff,
    .load = {0xffeef0f2, 0xffc3d8e8, 0xff7fb0d3, 0xff3a7fb5, 0xff0b3c74},
    .gate = {0xfffdebd3, 0xfffdc37f, 0xfff08a24, 0xffc25400, 0xff7a2e00},
    .glow = 0xffff7f0e,
    .ember = 0xffffdcae,
    .ink = 0xff1a1a1a,
    .soft = 0xff5c6066,
    .off = 0xfff4f4f4,
};

static const MoePalette dark = {
    .back = 0xff1e1e1e,
    .load = {0xff2b2d31, 0xff28455f, 0xff2f6ea3, 0xff62a3d8, 0xffc4e2fa},
    .gate = {0xff3a2a1a, 0xff7a4708, 0xffc27512, 0xfff5a623, 0xffffe08a},
    .glow = 0xffffb43b,
    .ember = 0xff8a5208,
    .ink = 0xfff2f2f2,
    .soft = 0xffa9adb3,
    .off = 0xff242424,
};

const MoePalette *moe_palette(gboolean is_dark)
{
    return is_dark ? &dark : &light;
}

MoeColour moe_colour_mix(MoeColour a, MoeColour b, double t)
{
    guint32 weight = (guint32)lround(CLAMP(t, 0, 1) * 256), mixed = 0xff;
    for (int shift = 16; shift >= 0; shift -= 8) {
        guint32 from = a >> shift & 0xff, to = b >> shift & 0xff;
        mixed = mixed << 8 | (from * (256 - weight) + to * weight + 128) >> 8;
    }
    return mixed;
}

static MoeColour on_scale(const MoeColour stops[MOE_SCALE_STOPS], double t)
{
    double at = CLAMP(t, 0, 1) * (MOE_SCALE_STOPS - 1);
    int i = MIN((int)at, MOE_SCALE_STOPS - 2);
    return moe_colour_mix(stops[i], stops[i + 1], at - i);
}

MoeColour moe_palette_load(const MoePalette *self, double shares)
{
    return on_scale(self->load, sqrt(MAX(shares, 0) / MOE_LOAD_MOST));
}

MoeColour moe_palette_gate(const MoePalette *self, double gate)
{
    return on_scale(self->gate, gate);
}

#define EMBER 0.2 /* how bright it is */

MoeColour moe_palette_glow(const MoePalette *self, MoeColour load, double glow)
{
    return glow < EMBER ? moe_colour_mix(load, self->ember, glow / EMBER)
                        : moe_colour_mix(self->ember, self->glow, (glow - EMBER) / (1 - EMBER));
}

void moe_colour_parts(MoeColour colour, double parts[3])
{
    for (int i = 0; i < 3; i++)
        parts[i] = (colour >> (16 - 8 * i) & 0xff) / 255.0;
}

double moe_colour_luminance(MoeColour colour)
{
    static const double weights[] = {0.2126, 0.7152, 0.0722};
    double parts[3], sum = 0;
    moe_colour_parts(colour, parts);
    for (int i = 0; i < 3; i++)
        sum += weights[i] *
               (parts[i] <= 0.04045 ? parts[i] / 12.92 : pow((parts[i] + 0.055) / 1.055, 2.4));
    return sum;
}
