/* Everything that vkmoe offers to programs. */
#ifndef VKMOE_VKMOE_H
#define VKMOE_VKMOE_H

#include "vkmoe/bench.h"
#include "vkmoe/chat.h"
#include "vkmoe/conform.h"
#include "vkmoe/device.h"
#include "vkmoe/eval.h"
#include "vkmoe/log.h"
#include "vkmoe/model.h"
#include "vkmoe/plan.h"
#include "vkmoe/quantize.h"
#include "vkmoe/routing.h"
#include "vkmoe/sampling.h"
#include "vkmoe/session.h"
#include "vkmoe/status.h"
#include "vkmoe/study.h"
#include "vkmoe/tokenizer.h"
#include "vkmoe/version.h"

#endif
